"""Hardware of a measurement: figures depend on it, and a single CPU feature makes int8 fast or slow."""

import ctypes
import platform
from pathlib import Path
from typing import Any

import onnxruntime

from models_store.models.providers import Provider

DISTINGUISHING = (
    "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "avx_vnni_int8",
    "amx_tile", "amx_int8", "amx_bf16",  # x86
    "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2",  # ARM
)  # fmt: skip
"""features, by Linux's names, that decide how fast kernels of fewer bits are"""

COMPUTE_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of CUDA's driver API


def host(provider: Provider) -> dict[str, Any]:
    """Return the model of the CPU or GPU, the features that it has, and the version of onnxruntime."""
    device, features = _gpu() if provider == "cuda" else cpu(Path("/proc/cpuinfo"))
    return {"device": device, "features": features, "onnxruntime": onnxruntime.__version__}


def cpu(cpuinfo: Path) -> tuple[str, list[str]]:
    """Return the CPU's model and features from Linux's `cpuinfo`; elsewhere what Python knows of the platform."""
    if not cpuinfo.exists():
        return platform.processor() or platform.machine(), []
    known: dict[str, str] = {}
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        known.setdefault(name.strip().lower(), value.strip())
    has = set((known.get("flags") or known.get("features") or "").split())  # x86 says flags, ARM says Features
    model = known.get("model name") or known.get("cpu model") or platform.processor() or platform.machine()
    return model, [feature for feature in DISTINGUISHING if feature in has]


def _gpu() -> tuple[str, list[str]]:
    """Return the name and compute capability of the GPU that CUDA calls 0, as its driver tells."""
    driver = ctypes.CDLL("libcuda.so.1")
    driver.cuInit(0)
    device = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, len(name), device)
    parts = []
    for attribute in COMPUTE_CAPABILITY:
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        parts.append(str(value.value))
    return name.value.decode(errors="replace"), [f"sm_{''.join(parts)}"]
