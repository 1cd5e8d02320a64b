"""Warm-up at load: what each provider runs before the first request, and which requests get all cores."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from models_store.host import cores
from models_store.tasks.codec import Inputs
from service.inference import devices, tuning, warm_up
from service.inference.batcher import Batcher
from service.inference.batches import Batches
from service.inference.engine import Outputs
from service.inference.inline import Turns
from service.inference.nets import RETRY_EVERY, LoneNet
from tests import samples
from tests.service.inference.batchers import IN_LANES, Gate, PlainNet, a_batcher, answers_of, ask, close, mean_colour
from tests.service.live_service import a_plain_image


def warmed(
    folder: Path, provider: str, net: PlainNet, wide: PlainNet | None = None, *, beside_others: bool = False
) -> Batcher:
    return warm_up.batcher_of(
        net,
        open_wide=lambda: wide or PlainNet(),
        codec=IN_LANES,
        provider=provider,
        pads=tuning.TUNINGS[provider][0].pads,
        examples="images",
        settings=samples.quick_settings(folder, inference_lanes=1),
        turns=Turns(),
        beside_others=beside_others,
    )


@pytest.mark.parametrize("provider", [devices.CUDA, devices.TENSORRT])
def test_on_a_device_every_size_to_the_largest_runs_before_the_first_request(tmp_path: Path, provider: str) -> None:
    net = PlainNet()

    close(warmed(tmp_path, provider, net))

    most = IN_LANES.most_per_batch
    assert set(net.sizes) == {1 << power for power in range(most.bit_length()) if 1 << power < most} | {most}


@pytest.mark.parametrize(("provider", "size"), [(devices.CPU, 3), (devices.CUDA, 3), (devices.TENSORRT, 4)])
def test_batches_are_padded_where_a_new_size_would_be_compiled(tmp_path: Path, provider: str, size: int) -> None:
    net = PlainNet()
    batcher = warmed(tmp_path, provider, net)
    net.sizes.clear()

    answer = asyncio.run(ask(batcher, *[a_plain_image((n, 0, 0)) for n in range(3)]))

    assert answers_of(answer) == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert (net.sizes, answer.batch_size) == ([size], 3)
    close(batcher)


def takes(seconds: float) -> PlainNet:
    def run(inputs: Inputs) -> Outputs:
        time.sleep(seconds)
        return mean_colour(inputs)

    return PlainNet(run)


@pytest.mark.parametrize(
    ("usable", "beside_others", "is_inline"), [(2, True, True), (2, False, False), (1, False, True)]
)
def test_a_net_of_half_a_millisecond_runs_in_the_loop_where_a_thread_would_find_no_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usable: int, *, beside_others: bool, is_inline: bool
) -> None:
    monkeypatch.setattr(cores, "usable", lambda: usable)

    batcher = warmed(tmp_path, devices.CPU, takes(0.0005), beside_others=beside_others)

    assert batcher.is_inline == is_inline
    close(batcher)


@pytest.mark.parametrize(("wide_s", "is_kept"), [(0.005, True), (0.2, False)])
def test_a_second_session_is_kept_if_it_is_clearly_faster(wide_s: float, *, is_kept: bool) -> None:
    narrow, wide = takes(0.05), takes(wide_s)
    shapes = [{"images": IN_LANES.describe()[0].zeros(1)}]

    lone = warm_up.lone_net(narrow, wide, shapes, narrow_s=warm_up.run_s(narrow, shapes))

    assert (lone is not None) == is_kept


@pytest.mark.parametrize(
    ("batch_s", "most"),
    [
        (lambda size: 0.008 * size, 1),  # nothing is gained
        (lambda size: 0.006 + 0.002 * size, 64),  # much is gained, by the largest too
        (lambda size: 0.001 + 0.008 * size + 0.001 * max(0, size - 4), 4),  # larger ones are slower
    ],
)
def test_batches_grow_as_long_as_an_example_takes_clearly_less(
    monkeypatch: pytest.MonkeyPatch, batch_s: Callable[[int], float], most: int
) -> None:
    now_s = 0.0

    def run(inputs: Inputs) -> Outputs:
        nonlocal now_s
        now_s += batch_s(len(inputs["images"]))
        return mean_colour(inputs)

    monkeypatch.setattr(time, "perf_counter", lambda: now_s)

    assert warm_up.worthwhile(PlainNet(run), Batches(IN_LANES), most=64) == most


def test_a_request_that_is_alone_gets_all_cores_and_no_other_does() -> None:
    narrow, wide = Gate(), PlainNet()
    batcher = a_batcher(narrow, lanes=2, lone=LoneNet(narrow, wide, narrow_s=0.2, wide_s=0.1))
    image = a_plain_image((1, 2, 3))

    async def story() -> None:
        await ask(batcher, image)
        alone = list(wide.sizes), list(narrow.sizes)
        two = asyncio.create_task(ask(batcher, image, image))
        await narrow.wait_until_entered()
        await narrow.wait_until_entered()
        beside = asyncio.create_task(ask(batcher, image))
        narrow.open.set()
        await asyncio.gather(two, beside)
        assert alone == ([1], [])

    asyncio.run(story())

    assert narrow.sizes[:2] == [1, 1]
    close(batcher)


def test_the_session_that_has_become_faster_is_taken_and_the_other_is_tried_again() -> None:
    narrow, wide = PlainNet(), PlainNet()
    lone = LoneNet(narrow, wide, narrow_s=0.02, wide_s=0.01)
    before = lone.choose()
    for _ in range(20):
        lone.measured(wide, 0.08)

    after = [lone.choose() for _ in range(RETRY_EVERY)]

    assert before is wide
    assert after.count(narrow) == RETRY_EVERY - 1
    assert after.count(wide) == 1
