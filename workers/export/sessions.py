"""Sessions of onnxruntime for workers: a named provider, a fixed number of threads, no spinning, no messages."""

import functools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models_store.errors import EspalierError
from workers.training.examples import Inputs, Rows, take

# N examples of a batch, K class or label (1 for a number)

Device = Literal["auto", "cpu", "cuda"]
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
ERRORS_ONLY = 3  # onnxruntime's log severity


class DeviceUnavailable(EspalierError):
    """CUDA was asked for and onnxruntime runs on the CPU."""

    code = "device_unavailable"
    is_the_hosts = True
    title = "The device is not there"


def open_session(path: Path, *, device: Device, threads: int) -> onnxruntime.InferenceSession:
    """Return a session of the file at `path` that runs one operator at a time, on `threads` threads.

    Raises:
        DeviceUnavailable: if `device` is `cuda` and the session that came runs on the CPU.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1")  # as `service.inference.devices`
    session = onnxruntime.InferenceSession(str(path), options, providers=_providers(device))
    if device == "cuda" and provider(session) != CUDA:
        raise DeviceUnavailable(
            "DEVICE is `cuda` and onnxruntime can't use CUDA here; check the driver with nvidia-smi, or set DEVICE=auto"
        )
    return session


def provider(session: onnxruntime.InferenceSession) -> str:
    """Return the provider that runs the session. What was asked for says nothing: onnxruntime falls back silently."""
    return str(session.get_providers()[0])


def answer(session: onnxruntime.InferenceSession, feed: Inputs) -> NDArray[np.float32]:
    """Return the file's only output (N, K) for its named inputs."""
    outputs_NK: NDArray[np.float32] = session.run(None, feed)[0]
    return outputs_NK


def answers(
    session: onnxruntime.InferenceSession,
    inputs: Inputs,
    rows: Rows,
    *,
    batch_size: int,
    padded: Collection[str] = (),
) -> Iterator[NDArray[np.float32]]:
    """Yield the file's answer (N, K) for each batch of the examples at `rows`, in order; `padded` as in `Examples`."""
    for start in range(0, len(rows), batch_size):
        yield answer(session, take(inputs, rows[start : start + batch_size], padded=padded))


@functools.cache
def cuda_may_be_there() -> bool:
    """Load CUDA's libraries from their wheels, where there is a driver; whether it works, the session knows."""
    if not Path("/dev/nvidiactl").exists() or CUDA not in onnxruntime.get_available_providers():
        return False
    onnxruntime.preload_dlls()
    return True


def _providers(device: Device) -> list[Any]:
    if device == "cpu" or not cuda_may_be_there():
        return [CPU]
    return [(CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}), CPU]
