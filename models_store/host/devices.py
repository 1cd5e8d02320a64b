"""Devices of this host on which a worker can calculate, found without torch."""

import subprocess
from pathlib import Path
from typing import Any

from models_store.host import cores

NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
PATIENCE_S = 10.0


def found(wanted: str) -> list[dict[str, Any]]:
    """Return the CPU, and each GPU unless `wanted` (DEVICE) is cpu: kind, name, the CPU's cores, memory_bytes."""
    cpu = {"kind": "cpu", "name": _cpu_name(), "cores": cores.usable(), "memory_bytes": _memory_bytes()}
    return [cpu, *(_gpus() if wanted != "cpu" else [])]


def _gpus() -> list[dict[str, Any]]:
    try:
        answer = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
        rows = [line.rpartition(",") for line in answer.splitlines() if line.strip()]
        return [
            {"kind": "cuda", "name": name.strip(), "cores": None, "memory_bytes": int(mebibytes) << 20}
            for name, _, mebibytes in rows
        ]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []  # no driver, no GPU, or one that does not answer


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "CPU"


def _memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) << 10
    return 0
