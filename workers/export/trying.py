"""One file alone in a process: whether it runs at all, how long loading takes, and how much memory it needs.

A file that ends its process (a kernel that fails, a lack of memory) is reported like a refusal.
"""

import multiprocessing
import re
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from models_store.models.providers import Provider
from models_store.wording import counted
from workers.export import sessions
from workers.export.figures import Unmeasurable
from workers.process import parent_death
from workers.training.examples import Inputs

ANSWERS_WITHIN_S = 600.0
NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)")
INSTEAD: dict[Provider, str] = {
    "cpu": "use fp32 or int8 here, or CUDA",
    "cuda": "use fp32 or fp16 here, or the CPU",
}


@dataclass(frozen=True)
class Tried:
    """What a variant's own process reported: how long loading took, and how much memory it had at most."""

    load_ms: float
    peak_memory_bytes: int
    provider: str


def alone(
    path: Path, sample: Inputs, *, provider: Provider, threads: int, limit_s: float = ANSWERS_WITHIN_S
) -> Tried | Unmeasurable:
    """Return how it went to load the file and run the batch in a process of its own.

    The process is a fork of this one: call it before the first session is made, whose threads a fork would lose. One
    that has not ended after `limit_s` is killed.
    """
    path.read_bytes()  # into the page cache, so that every variant is read from memory
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_tell_how_it_went, args=(theirs, path, sample, provider, threads))
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit_s):
            process.kill()
            process.join()
            return Unmeasurable(f"did not load and answer {counted(_count(sample), 'example')} within {limit_s:g} s")
        reported: Tried | str = ours.recv()
    except EOFError:
        process.join()
        return Unmeasurable(f"the process that ran it alone ended with exit code {process.exitcode}")
    process.join()
    return Unmeasurable(reported) if isinstance(reported, str) else reported


def _tell_how_it_went(reported: Connection, path: Path, sample: Inputs, provider: Provider, threads: int) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a fork"
    assert parent.pid is not None
    parent_death.die_with_parent(parent.pid)
    try:
        start = time.perf_counter()
        session = sessions.open_session(path, device=provider, threads=threads)
        load_ms = 1000 * (time.perf_counter() - start)
        session.run(None, sample)
    except Exception as error:  # noqa: BLE001  onnxruntime's errors share no base
        reported.send(_reason(error, path, provider))
    else:
        reported.send(Tried(load_ms, _peak_memory_bytes(), sessions.provider(session)))


def _count(sample: Inputs) -> int:
    return len(next(iter(sample.values())))


def _reason(error: Exception, path: Path, provider: Provider) -> str:
    """Return in our words that a kernel is not there; else the first line of what onnxruntime says."""
    said = str(error).strip()
    if missing := NO_KERNEL.search(said):
        return (
            f"onnxruntime has no {_number_format(path)} kernels for {missing[1]} on this provider ({provider}); "
            f"{INSTEAD[provider]}"
        )
    return f"onnxruntime refuses it: {(said.splitlines() or [repr(error)])[0][:500]}"


def _number_format(path: Path) -> str:
    """Return the fewest bits that the file's weights are in, by the name of the variant."""
    import onnx  # noqa: PLC0415  only a file that was refused is looked into

    types = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
    formats = {onnx.TensorProto.BFLOAT16: "bf16", onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.INT8: "int8"}
    return next((name for data_type, name in formats.items() if data_type in types), "fp32")


def _peak_memory_bytes() -> int:
    """Return this process's largest resident set so far (proc(5), status, VmHWM)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this kernel does not tell a process's peak memory")
