"""One file alone in a process: whether it runs at all, how long loading takes, and how much memory it needs.

What takes its process down with it (a kernel that fails, memory that is not there) is told as well as what is refused.
"""

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models_store.providers import Provider
from workers import tether
from workers.export import sessions
from workers.export.figures import Unmeasurable

# N images, H height, W width, C channel


@dataclass(frozen=True)
class Tried:
    """What a form's own process told: how long loading took, and how much memory it had at most."""

    load_ms: float
    peak_memory_bytes: int
    provider: str


def alone(path: Path, sample_NHWC: NDArray[np.uint8], *, provider: Provider, threads: int) -> Tried | Unmeasurable:
    """Return how it went to load the file and run the batch in a process of its own.

    The process is a fork of this one: call it before the first session is made, whose threads a fork would lose.
    """
    path.read_bytes()  # into the page cache, so that every form is read from memory
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_tell_how_it_went, args=(theirs, path, sample_NHWC, provider, threads))
    process.start()
    theirs.close()
    try:
        told: Tried | str = ours.recv()
    except EOFError:
        process.join()
        return Unmeasurable(f"the process that ran it alone ended with exit code {process.exitcode}")
    process.join()
    return Unmeasurable(told) if isinstance(told, str) else told


def _tell_how_it_went(
    told: Connection, path: Path, sample_NHWC: NDArray[np.uint8], provider: Provider, threads: int
) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a fork"
    assert parent.pid is not None
    tether.die_with_parent(parent.pid)
    try:
        start = time.perf_counter()
        session = sessions.open_session(path, device=provider, threads=threads)
        load_ms = 1000 * (time.perf_counter() - start)
        session.run(["probabilities"], {"images": sample_NHWC})
    except Exception as error:  # noqa: BLE001  onnxruntime's errors share no base
        told.send(_first_sentence(error))
    else:
        told.send(Tried(load_ms, _peak_memory_bytes(), sessions.provider(session)))


def _first_sentence(error: Exception) -> str:
    """Return the first line of what onnxruntime says, without the line of its source code that it came from."""
    return f"onnxruntime refuses it: {(str(error).strip().splitlines() or [repr(error)])[0][:500]}"


def _peak_memory_bytes() -> int:
    """Return this process's largest resident set so far (proc(5), status, VmHWM)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this kernel does not tell a process's peak memory")
