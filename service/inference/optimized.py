"""Cache of graphs as onnxruntime has optimised them, on this host: reading one takes half the time of making it.

Fusing a net's operators and laying out its weights takes tens to hundreds of milliseconds at every load, and depends on
nothing but what a kept file is named by: the model's bytes, onnxruntime's version, the provider with its options, and
the device. Its own
checksum is in its name too; a damaged file is dropped and made again. Where the folder can't be written, models load as
if there were none. The answers are those of the model's own file, bit for bit.
"""

import contextlib
import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog

from service.inference import devices

MOST_BYTES = 4 << 30
"""kept on this host; the least recently used leave first"""
CHUNK_BYTES = 1 << 20
OPTIMISED_WITH = "x64quantprecision"
"""options of sessions that change the graphs; graphs of earlier releases, without it, are not used"""
DISTINGUISHING = (
    "vendor_id",
    "model name",
    "flags",
    "cpu part",
    "features",
)  # of /proc/cpuinfo: x86 has three, ARM two

log = structlog.get_logger(__name__)


def open_model(
    sha256: str,
    fetch: Callable[[], Path],
    *,
    folder: Path,
    provider: str,
    threads: int,
    of_provider: Mapping[str, str] = MappingProxyType({}),
) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return a session of the model with this digest: of its optimised graph in `folder`, else of what `fetch` returns.

    `fetch` returns the model's checked file; its graph is kept for the next load. `of_provider` are the provider's own
    options.

    Raises:
        DeviceUnavailable: if the session came up on another provider.
        Exception: what `fetch` raises, and onnxruntime's own errors for a file that is no model.
    """
    if provider in devices.COMPILING or devices.NHWC in of_provider:
        return devices.open_session(fetch(), provider=provider, threads=threads, of_provider=of_provider)
    name = name_of(sha256, provider, *(f"{key}={value}" for key, value in sorted(of_provider.items())))
    for kept in folder.glob(f"{name}-*.onnx"):
        try:
            if kept.stem.rpartition("-")[2] == _checksum(kept):
                session = devices.open_optimized(kept, provider=provider, threads=threads, of_provider=of_provider)
                os.utime(kept)
                return session
            log.warning("an optimised graph is damaged; it is made again", file=kept.name)
        except devices.DeviceUnavailable:
            raise
        except Exception:  # onnxruntime's errors share no base; the model's own file is still there
            log.exception("an optimised graph did not load; it is made again", file=kept.name)
        with contextlib.suppress(OSError):
            kept.unlink()
    model = fetch()
    arriving = folder / f".{name}.{os.getpid()}.{threading.get_native_id()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        session = devices.open_session(
            model, provider=provider, threads=threads, keep=arriving, of_provider=of_provider
        )
        _keep(arriving, folder / name)
    except devices.DeviceUnavailable:
        raise
    except Exception:  # noqa: BLE001  a full or read-only disk must not stop a model, and any other error comes again
        session = devices.open_session(model, provider=provider, threads=threads, of_provider=of_provider)
    finally:
        with contextlib.suppress(OSError):
            arriving.unlink(missing_ok=True)
    return session


def _keep(arriving: Path, name: Path) -> None:
    arriving.rename(name.with_name(f"{name.name}-{_checksum(arriving)}.onnx"))
    files = sorted(((each.stat().st_mtime, each) for each in name.parent.iterdir()), reverse=True)
    left_bytes = MOST_BYTES
    for _, each in files:
        left_bytes -= each.stat().st_size
        if left_bytes < 0:
            each.unlink()


def name_of(sha256: str, provider: str, *more: str) -> str:
    """Return a name for what is known of a model on this host, by its digest, versions, the provider and the device."""
    device = _gpu() if provider in devices.ON_GPU else ""
    what = "\n".join((sha256, devices.runtime().__version__, provider, _cpu(), device, OPTIMISED_WITH, *more))
    return hashlib.sha256(what.encode()).hexdigest()[:32]


@cache
def _gpu() -> str:
    """Return the version of NVIDIA's driver, and its GPUs, as Linux has them."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia").glob("version")) + sorted(
        Path("/proc/driver/nvidia/gpus").glob("*/information")
    ):
        with contextlib.suppress(OSError):
            found.append(path.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(found)


@cache
def _cpu() -> str:
    """Return what decides which kernels are chosen and how weights are laid out, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    return "\n".join(sorted({line for line in lines if line.partition(":")[0].strip().lower() in DISTINGUISHING}))


def _checksum(path: Path) -> str:
    """Return a checksum against damage, four times as fast as a digest."""
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return f"{checksum:08x}"
