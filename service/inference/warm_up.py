"""Warm-up of a net at load: every shape runs once, and what one example takes is measured."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from models_store.host import cores
from models_store.settings import Settings
from models_store.tasks.codec import Codec, Inputs
from service.inference import devices
from service.inference.admission import Limits
from service.inference.batcher import Batcher
from service.inference.batches import Batches
from service.inference.estimates import QUICK_BESIDE_OTHERS_S, QUICK_S
from service.inference.inline import Turns
from service.inference.nets import LoneNet, Net

ROUNDS = 5
MEASURE_S = 0.1
WORTH = 0.85
"""A second session must take at most this share of the first one's time."""
SLOW_S = 0.002
"""A net that takes less gains nothing from more cores: waking them takes as long."""
GAIN = 0.97
"""A larger batch must take at most this share of a smaller one's time for an example: its rows wait for one another."""
OVERHEAD_S = 0.0002
"""What a batch takes beside its run: it is taken from the queue, and the event loop is woken for its answers."""

log = structlog.get_logger(__name__)


def batcher_of(
    net: Net,
    *,
    open_wide: Callable[[], Net],
    codec: Codec[Any],
    provider: str,
    pads: bool,
    examples: str,
    settings: Settings,
    turns: Turns,
    beside_others: bool,
) -> Batcher:
    """Return a batcher of a net that is warm. `open_wide` opens the same file with a thread for each core.

    `pads`: batches are padded to the sizes that run here. `beside_others`: other processes use the other cores.
    """
    on_cpu = provider == devices.CPU
    sizes = sizes_on(provider, codec)
    batches = Batches(
        codec,
        sizes=sizes if pads else (),
        effort=time.thread_time if on_cpu else time.monotonic,
    )
    narrow_s = run_s(net, batches.shapes(sizes))
    is_slow = on_cpu and narrow_s > SLOW_S
    several = is_slow and cores.usable() > 1
    return Batcher(
        net,
        codec=codec,
        provider=provider,
        examples=examples,
        lanes=settings.inference_lanes or (cores.usable() if on_cpu else 1),
        limits=Limits(
            settings.predict_queue,
            settings.predict_queue_bytes,
            timeout_s=settings.predict_timeout_s,
            wait_s=settings.predict_wait_s,
        ),
        batches=batches,
        lone=lone_net(net, open_wide(), batches.shapes(), narrow_s=narrow_s) if several else None,
        most_per_batch=worthwhile(net, batches, most=codec.most_per_batch) if is_slow else codec.most_per_batch,
        run_s=narrow_s,
        quick_s=QUICK_BESIDE_OTHERS_S if on_cpu and (beside_others or cores.usable() == 1) else QUICK_S,
        turns=turns,
    )


def sizes_on(provider: str, codec: Codec[Any]) -> tuple[int, ...]:
    """Return the sizes of batches that run at load; none on a CPU, which prepares nothing for a size."""
    return () if provider == devices.CPU else sizes_up_to(codec.most_per_batch)


def sizes_up_to(most: int) -> tuple[int, ...]:
    """Return the sizes of batches that run at load on a device: what it prepares for one helps those below."""
    return (*(1 << power for power in range(most.bit_length()) if 1 << power < most), most)


def run_s(net: Net, shapes: Sequence[Inputs]) -> float:
    """Run a net once in every shape, and return how long the first one takes, in seconds, at its best."""
    for inputs in shapes:
        net.run(inputs)
    best_s, started_s = float("inf"), time.perf_counter()
    for _ in range(ROUNDS):
        before_s = time.perf_counter()
        net.run(shapes[0])
        now_s = time.perf_counter()
        best_s = min(best_s, now_s - before_s)
        if now_s - started_s > MEASURE_S:
            break
    return best_s


def worthwhile(net: Net, batches: Batches, *, most: int) -> int:
    """Return the size of batches above which the next two take hardly less time for an example.

    On a CPU, slow nets gain little, and the activations of large batches leave its caches.
    """
    best, best_s = 1, float("inf")
    for size in sizes_up_to(most):
        row_s = (run_s(net, batches.shapes([size])[:1]) + OVERHEAD_S) / size
        if row_s <= GAIN * best_s:
            best, best_s = size, row_s
        elif size > 2 * best:
            break
    return best


def lone_net(narrow: Net, wide: Net, shapes: Sequence[Inputs], *, narrow_s: float) -> LoneNet | None:
    """Return both sessions for lone requests, if the wide one is clearly faster."""
    wide_s = run_s(wide, shapes)
    log.info("lone requests", narrow_ms=round(1000 * narrow_s, 2), wide_ms=round(1000 * wide_s, 2))
    return LoneNet(narrow, wide, narrow_s=narrow_s, wide_s=wide_s) if wide_s < WORTH * narrow_s else None
