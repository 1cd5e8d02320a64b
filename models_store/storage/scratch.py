"""Scratch folder for half-written files, named by their writers, so that those of dead writers are swept."""

import re
import shutil
import tempfile
from pathlib import Path

from models_store.host.processes import is_running, started

NAME = re.compile(r"(?:upload|dataset|espalier-metrics)-(?P<pid>\d+)\.(?P<started>\d+)-")


def new_file(folder: Path, purpose: str, *, pid: int) -> tuple[int, Path]:
    """Return the descriptor and the path of a new file of the process `pid`; `purpose` is upload or dataset."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f"{purpose}-{pid}.{started(pid)}-")
    return descriptor, Path(name)


def new_folder(folder: Path, purpose: str, *, pid: int) -> Path:
    """Return a new folder of the process `pid`."""
    return Path(tempfile.mkdtemp(dir=folder, prefix=f"{purpose}-{pid}.{started(pid)}-"))


def sweep(folder: Path) -> int:
    """Remove what dead processes left half-written; return how many files and folders that was.

    The bytecode that earlier releases kept here goes too: a full disk may have left half a file in it.
    """
    shutil.rmtree(folder / "bytecode", ignore_errors=True)
    return sweep_dead(folder)


def sweep_dead(folder: Path) -> int:
    """Remove what dead processes left in a folder that others use too; return how many files and folders that was."""
    swept = 0
    for path in folder.iterdir():
        match = NAME.match(path.name)
        if match and not (is_running(int(match["pid"])) and started(int(match["pid"])) == match["started"]):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            swept += 1
    return swept
