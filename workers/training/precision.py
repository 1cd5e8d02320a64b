"""In which numbers to calculate: fp32, or half-sized ones where the device is really faster with them."""

import copy
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.errors import FieldError, Invalid
from workers.process.progress import Drained, Reporter

Name = Literal["fp32", "bf16", "fp16"]

PROBE_S = 10.0
PROBE_STEPS = 3
FEW = 4  # examples that are tried before a whole batch
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""the variables by which a user limits oneDNN to older instructions; it reads the first that is set"""
WITHOUT_BF16 = {"AVX512_CORE", "AVX512_CORE_VNNI"}
"""their values with which oneDNN emulates bf16, but says that it has it"""
WORTHWHILE = 1.15  # below this gain bf16 is not worth its digits, and timing noise could decide


class PrecisionUnsupported(Invalid):
    """The device can't calculate in the precision that the spec asks for."""

    code = "precision_unsupported"
    title = "Precision not supported on this device"


@dataclass(frozen=True)
class Precision:
    """A precision on a device: the context for forward passes, and the scaler of gradients that fp16 needs."""

    name: Name
    device: torch.device

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which the net and the loss run."""
        kind = torch.float16 if self.name == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=kind, enabled=self.name != "fp32")

    def scaler(self) -> torch.amp.GradScaler:
        """Return the gradients' scaler; it passes everything through but for fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")


def choose(
    wanted: Literal["auto", "fp32", "bf16", "fp16"],
    net: nn.Module,
    *,
    device: torch.device,
    sample: Callable[[int], tuple[Tensor, Tensor]],
    batch: int,
    steps_ahead: int,
    reporter: Reporter,
    clock: Callable[[], float] = time.perf_counter,
) -> Precision:
    """Return the precision to train in; `auto` on a CPU that has bf16 tries a few real steps of a copy of the net.

    `sample` gives so many inputs and their labels, of which a step has `batch`; with fewer than some ten times the
    probe's own `steps_ahead`, fp32 is taken untried. The probe ends after about `PROBE_S` by the `clock`.

    Raises:
        PrecisionUnsupported: if fp16 is wanted without CUDA, or bf16 on a CUDA device that lacks it.
        Drained: if the reporter asked to stop.
    """
    require_support(wanted, device)
    if device.type == "cuda" and wanted == "auto":
        return Precision("bf16" if torch.cuda.is_bf16_supported() else "fp16", device)
    if wanted == "bf16" and device.type == "cpu" and not cpu_has_bf16():
        reporter.warn(
            "this CPU has no bf16 and emulates it: that is slower than fp32, on some CPUs more than 10 times; "
            "set `training.precision` to auto or fp32"
        )
    if wanted != "auto":
        return Precision(wanted, device)
    fp32, bf16 = Precision("fp32", device), Precision("bf16", device)
    if steps_ahead < 10 * 2 * (PROBE_STEPS + 1) or not cpu_has_bf16():
        return fp32
    gain = _Probe(net, sample, reporter=reporter, clock=clock).gain(fp32, bf16, batch=batch)
    chosen = bf16 if gain > WORTHWHILE else fp32
    reporter.log(f"training in {chosen.name}: a step in bf16 is {gain:.2f} times as fast as one in fp32")
    return chosen


def cpu_has_bf16() -> bool:
    """Return whether this CPU calculates in bf16 itself, as far as oneDNN may use it (`ONEDNN_MAX_CPU_ISA`).

    oneDNN's own answer counts every CPU with AVX-512; those without its bf16 part emulate it as well.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001  torch has no public name for it
        return False
    limit = next((os.environ[name] for name in LIMITS if os.environ.get(name)), "")
    if limit.upper() in WITHOUT_BF16:
        return False
    has = torch.cpu.get_capabilities()
    return has["architecture"] != "x86_64" or bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def require_support(wanted: str, device: torch.device) -> None:
    """Let pass what the device can calculate in.

    Raises:
        PrecisionUnsupported: if fp16 is wanted without CUDA, or bf16 on a CUDA device that lacks it.
    """
    if wanted == "fp16" and device.type != "cuda":
        message = f"fp16 needs a CUDA device and this run is on {device.type}; set `precision: auto`"
        allowed = ["auto", "fp32", "bf16"]
    elif wanted == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        message = "this CUDA device has no bf16; set `precision: auto` or `fp16`"
        allowed = ["auto", "fp32", "fp16"]
    else:
        return
    raise PrecisionUnsupported(
        message, errors=[FieldError("/training/precision", "precision_unsupported", message, allowed)]
    )


class _Probe:
    """Times training steps of a copy of a net; neither the net nor the random generators change."""

    def __init__(
        self,
        net: nn.Module,
        sample: Callable[[int], tuple[Tensor, Tensor]],
        *,
        reporter: Reporter,
        clock: Callable[[], float],
    ) -> None:
        self._net = copy.deepcopy(net).train()
        self._sample = sample
        self._reporter = reporter
        self._clock = clock
        self._ends_at = clock() + PROBE_S

    def gain(self, one: Precision, other: Precision, *, batch: int) -> float:
        """Return how many times faster a step is in the other precision.

        It is found with few examples first; with the whole batch only if there is time for it.
        """
        with torch.random.fork_rng(devices=[]):
            few = min(batch, FEW)
            gain, seconds = self._compare(one, other, count=few, rounds=1)
            whole_s = 2 * seconds * batch / few  # of one round, as is the warm-up
            if few < batch and 2 * whole_s < self._ends_at - self._clock():
                gain, _ = self._compare(one, other, count=batch, rounds=PROBE_STEPS)
        return gain

    def _compare(self, one: Precision, other: Precision, *, count: int, rounds: int) -> tuple[float, float]:
        """Time both in turns, so that a busy moment hits both; return the gain, and seconds of the slower step."""
        inputs, labels = self._sample(count)
        for precision in (one, other):
            self._step(inputs, labels, precision)  # the first step of each compiles its kernels
        times: list[tuple[float, float]] = []
        while len(times) < rounds and (not times or self._clock() < self._ends_at):
            times.append((self._step(inputs, labels, one), self._step(inputs, labels, other)))
        fastest, others_fastest = (min(each) for each in zip(*times, strict=True))
        return fastest / others_fastest, max(fastest, others_fastest)

    def _step(self, inputs: Tensor, labels: Tensor, precision: Precision) -> float:
        self._reporter.progress(0.0, step="precision")
        if self._reporter.stop_requested():
            raise Drained
        start = self._clock()
        with precision.autocast():
            loss = functional.cross_entropy(self._net(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        self._net.zero_grad(set_to_none=True)
        return self._clock() - start
