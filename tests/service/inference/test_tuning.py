"""Tunings of a provider: the fastest whose answers agree is chosen, once for a file on a host."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.storage.blobs import sha256_of
from models_store.tasks.codec import Inputs
from service.inference import devices, optimized, tuning
from service.inference.engine import Outputs
from service.inference.nets import BoundNet, Net, RunOptions, SessionNet
from service.inference.tuning import TUNINGS, Tuning
from tests import samples
from tests.service.live_service import a_plain_image, running
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import RED

PLAIN, FAST, SLOW, WRONG, BROKEN = (Tuning(name) for name in ("plain", "fast", "slow", "wrong", "broken"))
RUN_MS = {"plain": 10, "fast": 5, "slow": 20, "wrong": 1, "even": 10, "hardly": 9.8}
SHAPES = [{"images": np.zeros((size, 2), np.float32)} for size in (1, 4)]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


class Bench:
    """A clock that runs while nets run, and what was opened."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.opened: list[str] = []
        self.kept = folder / "work" / "a.tuning"
        self.broken = {"broken"}

    def open_net(self, each: Tuning) -> Net:
        self.opened.append(each.name)
        if each.name in self.broken:
            raise RuntimeError("no such option")
        return TimedNet(self, each.name)

    def chosen(self, *candidates: Tuning) -> str:
        chosen, net = tuning.choose(
            candidates, self.open_net, samples=lambda: SHAPES, kept=self.kept, clock=lambda: self.now_s
        )
        assert isinstance(net, TimedNet)
        assert net.name == chosen.name
        return chosen.name


class TimedNet:
    """A net that takes as long as its tuning says."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench, self.name = bench, name

    def options(self) -> Any:
        return None

    def run(self, inputs: Inputs, options: RunOptions | None = None) -> Outputs:  # noqa: ARG002  it can't be stopped
        self._bench.now_s += RUN_MS[self.name] / 1000
        return inputs["images"] + (1 if self.name == "wrong" else 0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("order", [(SLOW, FAST), (FAST, SLOW)])
def test_the_fastest_is_chosen(bench: Bench, order: Sequence[Tuning]) -> None:
    assert bench.chosen(PLAIN, *order) == "fast"


@pytest.mark.parametrize("other", ["even", "hardly", "slow"])
def test_the_plain_one_is_kept_unless_another_is_clearly_faster(bench: Bench, other: str) -> None:
    assert bench.chosen(PLAIN, Tuning(other)) == "plain"


@pytest.mark.parametrize("other", [WRONG, BROKEN])
def test_one_that_answers_differently_or_fails_is_left_out(bench: Bench, other: Tuning) -> None:
    assert bench.chosen(PLAIN, other) == "plain"


def test_a_choice_is_kept_and_nothing_is_measured_again(bench: Bench) -> None:
    first = bench.chosen(PLAIN, FAST, SLOW)
    measured_until_s = bench.now_s
    bench.opened.clear()

    again = bench.chosen(PLAIN, FAST, SLOW)

    assert (first, again, bench.opened, bench.now_s) == ("fast", "fast", ["fast"], measured_until_s)


def test_a_choice_that_fails_later_is_measured_again(bench: Bench) -> None:
    bench.chosen(PLAIN, FAST)
    bench.broken.add("fast")

    assert bench.chosen(PLAIN, FAST) == "plain"
    assert bench.chosen(PLAIN, FAST) == "plain"
    assert bench.opened[-1] == "plain"


@pytest.mark.parametrize("content", ["", "[]", '{"tuning": "of another release"}', "{"])
def test_a_damaged_choice_is_made_anew(bench: Bench, content: str) -> None:
    bench.kept.parent.mkdir()
    bench.kept.write_text(content)

    assert bench.chosen(PLAIN, FAST) == "fast"


def test_a_choice_that_can_not_be_written_costs_only_the_next_measurement(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where the folder would be")

    assert bench.chosen(PLAIN, FAST) == "fast"


def test_a_provider_with_one_tuning_measures_and_keeps_nothing(bench: Bench) -> None:
    assert bench.chosen(PLAIN) == "plain"
    assert (bench.now_s, bench.kept.exists()) == (0.0, False)


def test_samples_are_examples_that_fit_again_and_again() -> None:
    shapes = [{"tokens": np.zeros((3, 4), np.int64)}, {"tokens": np.zeros((1, 2), np.int64)}]
    examples = [{"tokens": np.array([[1, 2, 3]])}, {"tokens": np.array([[4, 5, 6, 7]])}]

    long, short = tuning.samples_of(shapes, examples)

    assert long["tokens"].tolist() == [[1, 2, 3, 0], [4, 5, 6, 7], [1, 2, 3, 0]]
    assert short["tokens"].tolist() == [[0, 0]]


def test_buffers_give_the_same_answers_and_other_shapes_go_without(tmp_path: Path) -> None:
    session = devices.open_session(write_colour_net(tmp_path / "net.onnx"), provider=devices.CPU, threads=1)
    plain = SessionNet(session)
    bound = BoundNet(session, [{"images": np.zeros_like(IMAGES[:2])}], device="cpu", graphs=False)

    for images in (IMAGES[:2], IMAGES[2:], IMAGES[:3], IMAGES[1:3, ::-1]):
        first = bound.run({"images": images})
        assert np.array_equal(first, plain.run({"images": images}))
        bound.run({"images": IMAGES[:2]}, bound.options())
        assert np.array_equal(first, plain.run({"images": images}))  # answers outlive the next run


def test_a_model_whose_fastest_tuning_has_buffers_answers_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TUNINGS, devices.CPU, (PLAIN, Tuning("bound", pads=True, buffers=True)))
    settings = samples.quick_settings(tmp_path / "home")
    net = write_colour_net(tmp_path / "net.onnx")
    kept = settings.scratch / "optimized" / f"{optimized.name_of(sha256_of(net), devices.CPU)}.tuning"
    kept.parent.mkdir()
    kept.write_text('{"tuning": "bound"}')

    with running(settings) as service:
        service.publish("colours", net)
        body = {"content": a_plain_image(RED), "headers": {"Content-Type": "image/png"}}
        answer = service.http.post("/predict?model=colours", **body).raise_for_status().json()
        (loaded,) = service.context.sessions.loaded

    assert answer["predictions"][0]["label"] == "red"
    assert loaded.tuning == "bound"


def test_without_tuning_the_plain_one_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TUNINGS, devices.CPU, (PLAIN, Tuning("bound", pads=True, buffers=True)))
    settings = samples.quick_settings(tmp_path / "home", tune_device=False)

    with running(settings) as service:
        service.publish("colours", write_colour_net(tmp_path / "net.onnx"))
        service.http.post("/v2/repository/models/colours/load").raise_for_status()
        (loaded,) = service.context.sessions.loaded

    assert loaded.tuning == "plain"
    assert not [*(settings.scratch / "optimized").glob("*.tuning")]


@pytest.mark.parametrize("provider", sorted(TUNINGS))
def test_each_provider_has_a_plain_tuning_first_and_every_name_once(provider: str) -> None:
    names = [each.name for each in TUNINGS[provider]]

    assert names[0] == "plain"
    assert len(set(names)) == len(names)
    assert all(each.buffers and each.pads for each in TUNINGS[provider] if each.graphs)


@pytest.mark.gpu
@pytest.mark.parametrize("each", TUNINGS[devices.CUDA], ids=lambda each: each.name)
def test_every_tuning_of_cuda_answers_as_the_cpu_does(tmp_path: Path, each: Tuning) -> None:
    model = write_colour_net(tmp_path / "net.onnx")
    cpu = SessionNet(devices.open_session(model, provider=devices.CPU, threads=1))
    options = {**each.options, "gpu_mem_limit": str(1 << 30)}
    session = devices.open_session(model, provider=devices.CUDA, threads=1, of_provider=options)
    shapes = [{"images": np.zeros_like(IMAGES[:size])} for size in (1, 2, 4)]
    net = BoundNet(session, shapes, device="cuda", graphs=each.graphs) if each.buffers else SessionNet(session)

    for _ in range(4):  # a graph is recorded by one of the first runs
        for size in (1, 2, 3, 4):
            given = {"images": IMAGES[:size]}
            assert np.allclose(net.run(given), cpu.run(given), atol=tuning.TOLERANCE)


@pytest.mark.gpu
def test_on_cuda_a_tuning_is_chosen_by_measurement_and_kept(tmp_path: Path) -> None:
    settings = samples.quick_settings(tmp_path / "home").model_copy(update={"device": "cuda"})

    with running(settings) as service:
        service.publish("colours", write_colour_net(tmp_path / "net.onnx"))
        service.http.post("/v2/repository/models/colours/load").raise_for_status()
        (loaded,) = service.context.sessions.loaded

    (kept,) = (settings.scratch / "optimized").glob("*.tuning")
    assert loaded.tuning in {each.name for each in TUNINGS[devices.CUDA]}
    assert f'"{loaded.tuning}"' in kept.read_text()
    assert optimized.name_of("a" * 64, devices.CUDA) != optimized.name_of("a" * 64, devices.CPU)
