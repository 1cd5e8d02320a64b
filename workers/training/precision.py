"""In which numbers to calculate: fp32, or half-sized ones where the device is really faster with them."""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.errors import FieldError, Invalid

Name = Literal["fp32", "bf16", "fp16"]

PROBE_STEPS = 3
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
    sample: Callable[[], tuple[Tensor, Tensor]],
    steps_ahead: int,
) -> Precision:
    """Return the precision to train in; `auto` on a CPU tries a few real steps of a copy of the net in each.

    `sample` gives one batch of inputs and labels; with fewer than some ten times the probe's own `steps_ahead`, fp32 is
    taken untried.

    Raises:
        PrecisionUnsupported: if fp16 is wanted without CUDA, or bf16 on a CUDA device that lacks it.
    """
    if wanted == "fp16" and device.type != "cuda":
        allowed = ["auto", "fp32", "bf16"]
        message = f"fp16 needs a CUDA device and this run is on {device.type}; set `precision: auto`"
        raise PrecisionUnsupported(
            message, errors=[FieldError("/training/precision", "precision_unsupported", message, allowed)]
        )
    if wanted == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        message = "this CUDA device has no bf16; set `precision: auto` or `fp16`"
        raise PrecisionUnsupported(
            message,
            errors=[FieldError("/training/precision", "precision_unsupported", message, ["auto", "fp32", "fp16"])],
        )
    if wanted != "auto":
        return Precision(wanted, device)
    if device.type == "cuda":
        return Precision("bf16" if torch.cuda.is_bf16_supported() else "fp16", device)
    if steps_ahead < 10 * 2 * (PROBE_STEPS + 1):
        return Precision("fp32", device)
    return _fastest(net, [Precision("fp32", device), Precision("bf16", device)], sample=sample)


def _fastest(net: nn.Module, candidates: list[Precision], *, sample: Callable[[], tuple[Tensor, Tensor]]) -> Precision:
    """Time the candidates in turns, so that a busy moment hits all; the first is kept unless another clearly wins."""
    with torch.random.fork_rng(devices=[]):
        probe = copy.deepcopy(net).train()
        inputs, labels = sample()
        for candidate in candidates:
            _step(probe, inputs, labels, candidate)  # the first step of each compiles its kernels
        seconds = [
            min(times)
            for times in zip(
                *([_step(probe, inputs, labels, candidate) for candidate in candidates] for _ in range(PROBE_STEPS)),
                strict=True,
            )
        ]
    best = min(range(len(candidates)), key=seconds.__getitem__)
    return candidates[best] if seconds[0] > WORTHWHILE * seconds[best] else candidates[0]


def _step(net: nn.Module, inputs: Tensor, labels: Tensor, precision: Precision) -> float:
    start = time.perf_counter()
    with precision.autocast():
        loss = functional.cross_entropy(net(inputs), labels)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    net.zero_grad(set_to_none=True)
    return time.perf_counter() - start
