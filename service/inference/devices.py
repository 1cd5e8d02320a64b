"""Execution providers that really run models: a real session decides, never the list of installed ones.

Sessions on the CPU share one arena: a session's own keeps the activations of its largest batch as long as it lives. Of
50 nets of 0.4 MB each took 0.7 MB this way and 6.5 MB with an arena of its own; of 6 MB, 6.5 MB and 94 MB. A run takes
no longer, with several threads neither.

`get_available_providers()` lists CUDA even with no driver, and a session asked for CUDA alone then runs on the CPU
without a word; only `session.get_providers()` tells. torch is never imported: `preload_dlls()` finds the CUDA libraries
in their own wheels.
"""

import base64
import ctypes
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import structlog

from models_store.errors import Unavailable
from models_store.host import telemetry
from models_store.models.providers import EXECUTION_PROVIDERS, Provider

Wanted = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"

NUMBERED = (CPU, CUDA, TENSORRT, OPENVINO)
"""providers by the number under which API processes tell them to one another"""
ON_GPU = frozenset({CUDA, TENSORRT})
DEVICE_OF = {CPU: "cpu", CUDA: "cuda"}
"""provider → onnxruntime's name of the device that buffers for it lie on"""
COMPILING = frozenset({TENSORRT, OPENVINO})
"""They make code of a graph that is in no file of onnxruntime's."""
NHWC = "prefer_nhwc"
"""option of CUDA that makes operators of a graph that are in no file either"""
BEHIND = {CPU: (), CUDA: (CPU,), TENSORRT: (CUDA, CPU), OPENVINO: (CPU,)}
"""provider → those that run the operators that it does not have"""
ASKED: dict[Wanted, str] = {"cuda": CUDA, "tensorrt": TENSORRT, "openvino": OPENVINO}
MISSING: dict[Wanted, str] = {
    "cuda": "onnxruntime finds no CUDA device here; check the driver and that the GPU is visible",
    "tensorrt": "onnxruntime runs nothing on TensorRT here; install TensorRT's libraries, and check that the GPU is "
    "visible",
    "openvino": "onnxruntime runs nothing on OpenVINO here; install onnxruntime-openvino in place of onnxruntime-gpu",
}

log = structlog.get_logger(__name__)

# An ONNX file of one Relu: the smallest thing that a provider can be asked to run.
PROBE = base64.b64decode("CAg6MwoMCgF4EgF5IgRSZWx1EgFwWg8KAXgSCgoICAESBAoCCAFiDwoBeRIKCggIARIECgIIAUIECgAQEg==")


class DeviceUnavailable(Unavailable):
    """DEVICE names a provider, and nothing runs on it here."""

    code = "device_unavailable"
    title = "The device that was asked for is not there"


@lru_cache(maxsize=1)
def runtime() -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return the onnxruntime module: loaded on first use (0.3 s), its telemetry off, quiet about what we check."""
    telemetry.turn_off()
    import onnxruntime  # noqa: PLC0415  the API process starts without it

    onnxruntime.set_default_logger_severity(4)  # fatal alone: errors come back as exceptions
    return onnxruntime


_fallbacks: list[str] = []
_found_by_owner: dict[Wanted, str] = {}


def adopt(wanted: Wanted, number: int) -> None:
    """Take over what the owner of the GPU has found: a probe of one's own would take memory there."""
    _found_by_owner[wanted] = NUMBERED[number]


def provider(wanted: Wanted) -> str:
    """Return the execution provider to use: the one that DEVICE names; of `auto`, CUDA where a session runs on it.

    Raises:
        DeviceUnavailable: if `wanted` names a provider on which nothing runs; there is no silent fall-back.
    """
    return _found_by_owner.get(wanted) or _found(wanted)


@cache
def _found(wanted: Wanted) -> str:
    if wanted == "cpu":
        return CPU
    asked = ASKED.get(wanted, CUDA)
    if _runs_on(asked):
        return asked
    if wanted in MISSING:
        raise DeviceUnavailable(f"DEVICE={wanted}, and {MISSING[wanted]}, or set DEVICE=auto")
    if _driver_is_there():
        _fallbacks.append(asked)
        log.warning("a GPU's driver is here, and nothing runs on it: models run on the CPU", provider=asked)
    return CPU


def fallbacks() -> int:
    """Return how often this process has taken the CPU where a GPU's driver was there."""
    return len(_fallbacks)


def _runs_on(asked: str) -> bool:
    """Return whether a session comes up on a provider."""
    if asked in ON_GPU and not _driver_is_there():
        return False
    if asked not in runtime().get_available_providers():
        return False
    if asked in ON_GPU:
        runtime().preload_dlls()
    used: list[str] = runtime().InferenceSession(PROBE, providers=_asked(asked)).get_providers()
    return used[0] == asked


@cache
def open_probe(provider: str) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return a session of the smallest net, which has run, so that what onnxruntime takes for itself is taken."""
    session = runtime().InferenceSession(PROBE, _options(1, provider), providers=_asked(provider))
    given = session.get_inputs()[0]
    session.run(None, {given.name: np.zeros(given.shape, np.float32)})
    return session


def serving(wanted: Wanted) -> Provider:
    """Return the provider that serves here, as cards name it.

    Raises:
        DeviceUnavailable: as `provider` does.
    """
    return EXECUTION_PROVIDERS[provider(wanted)]


def open_session(
    model: Path | bytes,
    *,
    provider: str,
    threads: int,
    keep: Path | None = None,
    of_provider: Mapping[str, str] = MappingProxyType({}),
) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return a session on exactly this provider, with `threads` threads inside one run. Releases the GIL meanwhile.

    The optimised graph is written to `keep`, for `open_optimized`; `of_provider` are the provider's own options.

    Raises:
        DeviceUnavailable: if the session came up on another provider.
        Exception: onnxruntime's own errors (they share no base) for a file that is no model.
    """
    options = _options(threads, provider)
    if keep is not None:
        options.optimized_model_filepath = str(keep)
    return _opened(model, options, provider, of_provider)


def open_optimized(
    graph: Path, *, provider: str, threads: int, of_provider: Mapping[str, str] = MappingProxyType({})
) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return a session of a graph that `open_session` has kept, as it is. Raises what that raises."""
    options = _options(threads, provider)
    options.graph_optimization_level = runtime().GraphOptimizationLevel.ORT_DISABLE_ALL
    return _opened(graph, options, provider, of_provider)


def _options(threads: int, provider: str) -> Any:  # noqa: ANN401  onnxruntime has no types
    options = runtime().SessionOptions()
    if provider == CPU:
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle costs nothing
    # x86 without VNNI adds pairs of 8-bit products in 16 bits, which overflow: int8 files would answer otherwise
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _opened(model: Path | bytes, options: Any, provider: str, of_provider: Mapping[str, str]) -> Any:  # noqa: ANN401  onnxruntime has no types
    session = runtime().InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=_asked(provider, of_provider)
    )
    used = session.get_providers()[0]
    if used != provider:
        raise DeviceUnavailable(f"the model was to run on {provider} and came up on {used}; restart the service")
    return session


def _asked(name: str, options: Mapping[str, str] = MappingProxyType({})) -> list[tuple[str, dict[str, str]]]:
    return [(name, dict(options)), *((each, {}) for each in BEHIND[name])]


@cache
def _share_arena() -> None:
    """Make the arena that all sessions on the CPU use; there is one for the life of the process."""
    there = runtime()
    host = there.OrtMemoryInfo("Cpu", there.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, there.OrtMemType.DEFAULT)
    there.create_and_register_allocator(host, None)


def _driver_is_there() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
