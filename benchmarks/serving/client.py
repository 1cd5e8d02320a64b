"""Client of the comparison (wrk): one body over kept connections, as fast as it is answered.

wrk is a closed loop: a connection that waits sends nothing, so its percentiles leave out the requests that would have
come meanwhile (coordinated omission). All servers are measured alike; no figure is one of an open loop.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

SCRIPT = Path(__file__).with_name("client.lua")


@dataclass(frozen=True)
class Ask:
    """Request that is sent again and again."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """Result of one measurement."""

    rps: float
    p50_ms: float
    p99_ms: float
    failed: int
    """requests without an answer, and answers that are no success"""


class WrongAnswer(Exception):
    """The server doesn't answer as it should; the message has what it said."""


def missing() -> str:
    """Return what is missing for a run, as a sentence; empty when nothing is."""
    return "" if shutil.which("wrk") else "wrk is not installed: `apt install wrk`"


def check(url: str, ask: Ask, *, label: str, index: int, classes: int) -> None:
    """Ask once, and look for the likeliest class: its label, or its place among the float32 at the answer's end.

    Raises:
        WrongAnswer: if it is another one.
    """
    answer = httpx.post(url + ask.path, content=ask.body, headers=ask.headers, timeout=60)
    content = answer.content
    if answer.is_success and (label.encode() in content or _likeliest(content, classes) == index):
        return
    raise WrongAnswer(f"{answer.status_code} {content[:300]!r}")


def _likeliest(content: bytes, classes: int) -> int:
    size = 4 * classes
    return int(np.frombuffer(content[-size:], np.float32).argmax()) if len(content) >= size else -1


def load(url: str, ask: Ask, *, connections: int, seconds: float, folder: Path) -> Load:
    """Return what a server answers to so many connections."""
    body = folder / "body"
    body.write_bytes(ask.body)
    # wrk's whole seconds; what it prints besides the script's line is dropped
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "--latency"]
    headers = "\n".join(f"{name}: {value}" for name, value in ask.headers.items())
    ended = subprocess.run(
        [*command, "-s", str(SCRIPT), url + ask.path],
        env=os.environ | {"WRK_BODY": str(body), "WRK_HEADERS": headers},
        capture_output=True,
        text=True,
        check=True,
    )
    printed = json.loads(ended.stdout.strip().splitlines()[-1])
    done, failed = printed["requests"] - printed["refused"], printed["failed"] + printed["refused"]
    _drain(url, ask)
    if printed["requests"] == 0:  # nothing came in the time: it took longer than that
        return Load(0.0, 1000 * printed["seconds"], 1000 * printed["seconds"], failed)
    return Load(done / printed["seconds"], printed["p50_ms"], printed["p99_ms"], failed)


def _drain(url: str, ask: Ask) -> None:
    """Wait until the server has an answer again: the requests that wrk has left behind may still wait in its queue."""
    httpx.post(url + ask.path, content=ask.body, headers=ask.headers, timeout=60)
