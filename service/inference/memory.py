"""Memory of this process and its host: what one model takes is the difference of two readings of `in_use`.

On the CPU that is what malloc has given out and not got back: unlike resident memory it is exact to the byte, has no
pages that a freed block left behind, and is the same however often models came and went. Sessions share one arena for
their activations (`devices`), so that a model's own part is its weights, as onnxruntime has laid them out. On CUDA it
is what the device has given out.
"""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from models_store.host import cgroups
from service.inference import devices

SHARE_OF_HOST = 0.5
SHARE_OF_GPU = 0.8
KIB = 1024
MALLINFO = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]


class _MallInfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO)


def in_use(provider: str) -> int:
    """Return the bytes in use where models of this provider lie: on the host, or on the GPU."""
    devices.open_probe(provider)  # what the first session of all takes, 13 MB, is no model's
    if provider in devices.ON_GPU and (of_gpu := _gpu()) is not None:
        free, total = of_gpu
        return total - free
    mallinfo = _libc_function("mallinfo2")
    if mallinfo is None:  # musl, or a glibc before 2.33
        return _status_bytes("RssAnon")
    mallinfo.restype = _MallInfo
    found = mallinfo()
    return int(found.uordblks + found.hblkhd)


def trim() -> None:
    """Give freed blocks back to the host: malloc keeps what a load has used for a moment, twice the file or more."""
    malloc_trim = _libc_function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def budget(asked_bytes: int, *, provider: str, share: float = 1.0) -> int:
    """Return the bytes that models may take in a process with this share; 0 asks for a part of what there is."""
    if asked_bytes:
        return int(asked_bytes * share)
    if provider in devices.ON_GPU and (of_gpu := _gpu()) is not None:
        return int(of_gpu[1] * SHARE_OF_GPU * share)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    left = cgroups.memory_left()
    return int(min(there, there if left is None else left) * SHARE_OF_HOST * share)


@cache
def _libc_function(name: str) -> Any:  # noqa: ANN401  ctypes has no types for functions
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None


def _gpu() -> tuple[int, int] | None:
    """Return the free and all bytes of the GPU, by the runtime that onnxruntime has loaded; None when it is not there.

    The name has the runtime's major version.
    """
    for library in ("libcudart.so.13", "libcudart.so.12"):
        try:
            runtime = ctypes.CDLL(library)
        except OSError:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        if runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) == 0:
            return free.value, total.value
    return None


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    return 0
