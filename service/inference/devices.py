"""Execution providers that really run models: a real session decides, never the list of installed ones.

`get_available_providers()` lists CUDA even with no driver, and a session asked for CUDA alone then runs on the CPU
without a word; only `session.get_providers()` tells. torch is never imported: `preload_dlls()` finds the CUDA libraries
in their own wheels.
"""

import base64
import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from models_store.errors import Unavailable
from models_store.host import telemetry
from models_store.models.providers import EXECUTION_PROVIDERS, Provider

Wanted = Literal["auto", "cpu", "cuda"]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# An ONNX file of one Relu: the smallest thing that a provider can be asked to run.
PROBE = base64.b64decode("CAg6MwoMCgF4EgF5IgRSZWx1EgFwWg8KAXgSCgoICAESBAoCCAFiDwoBeRIKCggIARIECgIIAUIECgAQEg==")


class DeviceUnavailable(Unavailable):
    """DEVICE=cuda was asked for, and no CUDA device answers."""

    code = "device_unavailable"
    title = "The device that was asked for is not there"


@lru_cache(maxsize=1)
def runtime() -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return the onnxruntime module: loaded on first use (0.3 s), its telemetry off, quiet about what we check."""
    telemetry.turn_off()
    import onnxruntime  # noqa: PLC0415  the API process starts without it

    onnxruntime.set_default_logger_severity(4)  # fatal alone: errors come back as exceptions
    return onnxruntime


@lru_cache(maxsize=4)
def provider(wanted: Wanted) -> str:
    """Return the execution provider to use: CUDA where a session really runs on it, the CPU otherwise.

    Raises:
        DeviceUnavailable: if `wanted` is `cuda` and no CUDA device answers; there is no silent fall-back.
    """
    if wanted == "cpu":
        return CPU
    if _driver_is_there() and CUDA in runtime().get_available_providers():
        runtime().preload_dlls()
        if runtime().InferenceSession(PROBE, providers=_asked(CUDA)).get_providers()[0] == CUDA:
            return CUDA
    if wanted == "cuda":
        raise DeviceUnavailable(
            "DEVICE=cuda, and onnxruntime finds no CUDA device here; "
            "check the driver and that the GPU is visible, or set DEVICE=auto to run on the CPU"
        )
    return CPU


def serving(wanted: Wanted) -> Provider:
    """Return the provider that serves here, as cards name it.

    Raises:
        DeviceUnavailable: as `provider` does.
    """
    return EXECUTION_PROVIDERS[provider(wanted)]


def open_session(model: Path, *, provider: str, threads: int, keep: Path | None = None) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return a session on exactly this provider, with `threads` threads inside one run. Releases the GIL meanwhile.

    The optimised graph is written to `keep`, for `open_optimized`.

    Raises:
        DeviceUnavailable: if the session came up on another provider.
        Exception: onnxruntime's own errors (they share no base) for a file that is no model.
    """
    options = _options(threads)
    if keep is not None:
        options.optimized_model_filepath = str(keep)
    return _opened(model, options, provider)


def open_optimized(graph: Path, *, provider: str, threads: int) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return a session of a graph that `open_session` has kept, as it is. Raises what that raises."""
    options = _options(threads)
    options.graph_optimization_level = runtime().GraphOptimizationLevel.ORT_DISABLE_ALL
    return _opened(graph, options, provider)


def _options(threads: int) -> Any:  # noqa: ANN401  onnxruntime has no types
    options = runtime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle costs nothing
    return options


def _opened(model: Path, options: Any, provider: str) -> Any:  # noqa: ANN401  onnxruntime has no types
    session = runtime().InferenceSession(str(model), options, providers=_asked(provider))
    used = session.get_providers()[0]
    if used != provider:
        raise DeviceUnavailable(f"the model was to run on {provider} and came up on {used}; restart the service")
    return session


def _asked(name: str) -> list[Any]:
    # EXHAUSTIVE, the default, tunes anew for every batch size: 634 ms against 1.9 ms
    return [(CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}), CPU] if name == CUDA else [CPU]


def _driver_is_there() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
