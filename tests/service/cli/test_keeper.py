import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.cli import keeper
from service.cli.processes import Hurry, Process, Recipe, start

Keep = Callable[..., Process]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    def keep_command(script: str, *, grace_s: float = 5) -> Process:
        lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
        recipe = Recipe("kept", (sys.executable, "-c", script), grace_s)
        return start(recipe, logs=tmp_path, environment=os.environ, lock=lock)

    return keep_command


def wait_for(path: Path) -> str:
    while not path.exists() or not path.read_text():
        time.sleep(0.01)
    return path.read_text()


def is_alive(pid: int) -> bool:
    """A zombie that nobody has reaped is dead for us."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def until_dead(pid: int) -> None:
    while is_alive(pid):
        time.sleep(0.01)


def test_the_keeper_exits_as_its_command_did(keep: Keep) -> None:
    kept = keep("raise SystemExit(7)")

    assert kept.keeper.wait() == 7


def test_the_keeper_reports_a_killed_command_as_shells_do(keep: Keep) -> None:
    kept = keep("import os; os.kill(os.getpid(), 9)")

    assert kept.keeper.wait() == 128 + signal.SIGKILL


def test_a_command_that_is_not_there_is_named_in_its_log(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    kept = start(Recipe("kept", ("/nowhere/at/all",), 1), logs=tmp_path, environment=os.environ, lock=lock)

    assert kept.keeper.wait() == 127
    assert "/nowhere/at/all" in kept.log_tail()


def test_a_command_may_end_in_its_own_way(keep: Keep, tmp_path: Path) -> None:
    ready, done = tmp_path / "ready", tmp_path / "done"
    kept = keep(f"""
import pathlib, signal, sys
def leave(*_):
    pathlib.Path({str(done)!r}).write_text("done")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
pathlib.Path({str(ready)!r}).write_text("ready")
signal.pause()
""")
    wait_for(ready)

    kept.end(hurry=Hurry())

    assert kept.keeper.returncode == 0
    assert done.read_text() == "done"


DEAF = "import pathlib, signal, time; signal.signal(15, signal.SIG_IGN); {body}"


def deaf_with_a_deaf_child(pids: Path) -> str:
    child = DEAF.format(body="time.sleep(600)")
    return DEAF.format(
        body=f"import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        f"time.sleep(0.3); pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{child.pid}}'); time.sleep(600)"
    )


def test_a_deaf_command_is_killed_after_its_grace_and_its_children_too(keep: Keep, tmp_path: Path) -> None:
    kept = keep(deaf_with_a_deaf_child(tmp_path / "pids"), grace_s=0.2)
    command, child = map(int, wait_for(tmp_path / "pids").split())

    kept.end(hurry=Hurry())

    assert kept.keeper.returncode == 128 + signal.SIGKILL
    assert not is_alive(command)
    assert not is_alive(child)


def test_asked_twice_it_kills_at_once(keep: Keep, tmp_path: Path) -> None:
    kept = keep(deaf_with_a_deaf_child(tmp_path / "pids"), grace_s=10_000)
    wait_for(tmp_path / "pids")

    kept.end(hurry=Hurry(wanted=True))

    assert kept.keeper.returncode == 128 + signal.SIGKILL


def that_writes_its_pid(file: Path) -> str:
    return f"import os, pathlib, time; pathlib.Path({str(file)!r}).write_text(str(os.getpid())); time.sleep(600)"


def test_a_killed_keepers_command_dies_with_it(keep: Keep, tmp_path: Path) -> None:
    kept = keep(that_writes_its_pid(tmp_path / "pid"))
    command = int(wait_for(tmp_path / "pid"))

    kept.keeper.kill()
    kept.keeper.wait()

    until_dead(command)


def test_a_killed_parents_keeper_ends_its_command(tmp_path: Path) -> None:
    kept = [sys.executable, "-c", that_writes_its_pid(tmp_path / "pid")]
    script = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-I", {keeper.__file__!r}, "5", str(os.getpid()), "-1", "--", *{kept!r}])
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script])
    command = int(wait_for(tmp_path / "pid"))

    parent.kill()
    parent.wait()

    until_dead(command)
