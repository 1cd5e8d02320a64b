"""Stacks that `espalier up` starts, and the processes of each."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PLACES = (
    "ESPALIER_HOME",
    "ESPALIER_URL",
    "DATABASE_URL",
    "BLOBS_URL",
    "BROKER_URL",
    "WORK_DIR",
    "API_KEYS",
    "ALLOWED_HOSTS",
    "CORS_ORIGINS",
)


@dataclass
class Up:
    """An `espalier up` of its own."""

    process: "subprocess.Popen[str]"
    home: Path
    url: str

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(90)


def start_up(home: Path) -> Up:
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli.main", "--json", "up", "--home", str(home)],
        stdout=subprocess.PIPE,
        env=clean_environment(),
        text=True,
    )
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    return Up(process, home, facts["url"])


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in PLACES} | {"DEVICE": "cpu"}


def processes_of(home: Path) -> dict[int, str]:
    """Every living process that was told of this home by its environment or its command, whoever started it."""
    mark = f"ESPALIER_HOME={home}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            told = mark in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if folder.name.isdigit() and (told or f"{home}/" in command):  # Valkey writes its title over its environment
            found[int(folder.name)] = command
    return found
