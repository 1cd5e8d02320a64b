import os
from pathlib import Path

from models_store.storage import scratch


def test_what_a_dead_process_left_is_swept_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    _, mine = scratch.new_file(tmp_path, "upload", pid=os.getpid())
    orphan = tmp_path / "dataset-999999999.1-abc"
    (orphan / "deep").mkdir(parents=True)
    other = tmp_path / "cache"
    other.mkdir()

    swept = scratch.sweep(tmp_path)

    assert swept == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, other.name])


def test_a_pid_that_was_given_to_another_process_counts_as_dead(tmp_path: Path) -> None:
    (tmp_path / f"upload-{os.getpid()}.1-abc").touch()

    assert scratch.sweep(tmp_path) == 1
