"""Jobs of the benchmarks, as their trainers report them today."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import jobs
from benchmarks.home import Opened, home
from tests import samples

SPEC = samples.PLAIN | {"training": {"epochs": 1, "batch_size": 16}, "compression": None}


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Give an archive of three colours, taken in."""
    monkeypatch.setenv("MEASURE_S", "0.3")
    images = samples.class_folders(tmp_path / "images", per_class=20)
    with home(tmp_path) as store:
        yield store.open(Path(shutil.make_archive(str(tmp_path / "colours"), "zip", images)))


@pytest.mark.slow
def test_a_kept_net_is_compressed_and_its_variants_are_read(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    impossible = {"kind": "structured", "target_speedup": 50.0}
    asked = {"prune": impossible, "recover": None, "quantize": [{"kind": "static_int8"}], "max_accuracy_drop": 1.0}
    jobs.train(opened, SPEC)
    kept = jobs.train(opened, SPEC)  # read from the store, without a second training

    made = jobs.compress(opened, kept, asked)

    capsys.readouterr()
    jobs.show(made, "colours")
    assert "not made" in capsys.readouterr().out
    assert made.spec.task == kept.spec.task
    assert set(made.on_cpu("int8")) >= {"speedup", "accuracy", "accuracy_drop", "accepted", "latency_ms"}
    assert made.path("int8").stat().st_size == made.cards["int8"]["size_bytes"]
    with pytest.raises(jobs.NotMade, match="pruned was not made"):
        made.on_cpu("pruned")
