"""Number of examples of a step that fit into memory, found by two steps of a copy of the net."""

import copy
import resource
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models_store.host import cgroups
from models_store.spec.training import LARGEST_PROBED_BATCH

PROBES = (8, 32)  # examples in the two steps
SHARE = 0.7  # of what is free; the rest is left to what a probe does not see: other jobs, fragments, validation
COPIES_OF_WEIGHTS = 4  # gradients, two moments of an optimizer, and an average


def largest_batch(
    net: nn.Module,
    sample: Callable[[int], Tensor],
    *,
    most: int,
    free: int,
    device: torch.device,
    tell: Callable[[], None] = lambda: None,
) -> int:
    """Return the largest power of two of examples whose step should fit, at most 512 and at most `most`.

    `sample` gives that many of the net's inputs; `free` are the bytes that can be had. `tell` is called before each
    step. Memory, on a CPU that of this process, is taken to grow linearly with the examples. Nothing of the run
    changes: neither the net nor the state of the random generators.
    """
    sizes = sorted({min(size, most) for size in PROBES})
    weights_bytes = sum(weight.nbytes for weight in net.parameters())
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        probe = copy.deepcopy(net).train()
        before = _used_bytes(device)
        peaks = {}
        for size in sizes:
            tell()
            peaks[size] = _peak_bytes(probe, sample(size), device=device) - before
    return affordable(peaks, free=free - COPIES_OF_WEIGHTS * weights_bytes, most=most)


def affordable(peaks: Mapping[int, int], *, free: int, most: int) -> int:
    """Return the largest batch, given how many bytes above the start the peaks of steps of so many examples were."""
    (small, low), (large, high) = min(peaks.items()), max(peaks.items())
    each = max(0.0, (high - low) / (large - small) if large > small else high / large)
    fixed = max(0.0, high - each * large)
    fitting = (SHARE * free - fixed) / each if each > 0 else LARGEST_PROBED_BATCH
    return 1 << max(0, int(min(LARGEST_PROBED_BATCH, most, max(1, fitting))).bit_length() - 1)


def free_bytes(device: torch.device) -> int:
    """Return the bytes that can still be had on a device; on a CPU, within its control groups' limits."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    left = cgroups.memory_left()
    return free if left is None else min(free, left)


def _peak_bytes(net: nn.Module, inputs: Tensor, *, device: torch.device) -> int:
    """Return the most memory in use during a step; on a CPU, looked at whenever autograd keeps or takes a tensor."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        _step(net, inputs)
        return torch.cuda.max_memory_allocated(device)
    peak = _used_bytes(device)

    def look(tensor: Tensor) -> Tensor:
        nonlocal peak
        peak = max(peak, _used_bytes(device))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(look, look):
        _step(net, inputs)
    return peak


def _step(net: nn.Module, inputs: Tensor) -> None:
    net(inputs).float().square().mean().backward()
    net.zero_grad(set_to_none=True)


def _used_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
