"""Renew the lock files, or tell whether they are stale. Run as `python tools/locks.py --write | --check`.

Versions that are in a lock and still fit are kept in both cases: a lock is stale when pyproject.toml asks for something
else, never because a registry has something newer. No lock names a registry's address.
"""
# ruff: noqa: INP001  scripts, each run by its path; there is no package here

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILE = ("pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-emit-index-url", "--no-header")
TRIES = 3


@dataclass(frozen=True)
class Lock:
    """One lock file and the options that make it, besides those that all share."""

    name: str
    options: tuple[str, ...] = ()
    source: str = "pyproject.toml"


# in this order: the development lock decides the versions, the others are cut out of it
LOCKS = (
    Lock("requirements-dev.lock", ("--extra", "dev")),
    Lock("requirements.lock", ("-c", "requirements-dev.lock")),
    Lock("requirements-api.lock", ("-c", "requirements.lock", "--excludes", "docker/api-excludes.txt")),
    Lock("tests/kserve/requirements.lock", source="tests/kserve/requirements.in"),  # an environment of its own
)


class LockFailed(Exception):
    """uv could not resolve; its own words are the message."""


def compile_lock(lock: Lock, *, output: Path, upgrade: bool) -> None:
    """Resolve the lock's source into `output`, which keeps the versions it has unless `upgrade`.

    Raises:
        LockFailed: if uv fails each time (a slow registry gets three tries).
    """
    command = [str(ROOT / "tools/uv"), *COMPILE, lock.source, *lock.options, "-o", str(output)]
    command += ["--upgrade"] if upgrade else []
    for attempt in range(1, TRIES + 1):
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            return
        if attempt == TRIES:
            raise LockFailed(f"{lock.name} could not be resolved:\n{ended.stderr.strip()}")


def write(*, upgrade: bool) -> int:
    """Renew every lock in place."""
    for lock in LOCKS:
        compile_lock(lock, output=ROOT / lock.name, upgrade=upgrade)
        print(f"{lock.name}: written")  # noqa: T201  a command speaks on its output
    return 0


def check() -> int:
    """Return 0 when every lock is what its source asks for and names no address."""
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for lock in LOCKS:
            committed, fresh = ROOT / lock.name, Path(folder) / lock.name.replace("/", "-")
            if not committed.exists():
                faults.append(f"{lock.name} is missing")
                continue
            shutil.copyfile(committed, fresh)
            compile_lock(lock, output=fresh, upgrade=False)
            if fresh.read_text() != committed.read_text():
                faults.append(f"{lock.name} is stale")
            if "://" in committed.read_text():
                faults.append(f"{lock.name} names an address")
    for fault in faults:
        print(f"{fault}: run `make lock`", file=sys.stderr)  # noqa: T201  a command speaks on its output
    return 1 if faults else 0


def main() -> int:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description="renew the lock files, or tell whether they are stale")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="exit 1 when a lock is stale")
    what.add_argument("--write", action="store_true", help="renew, keeping versions that still fit")
    what.add_argument("--upgrade", action="store_true", help="renew with the newest versions that fit")
    given = parser.parse_args()
    try:
        return check() if given.check else write(upgrade=given.upgrade)
    except LockFailed as failure:
        print(failure, file=sys.stderr)  # noqa: T201  a command speaks on its output
        return 1


if __name__ == "__main__":
    sys.exit(main())
