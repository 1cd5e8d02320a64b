"""Many models under a budget for few: all answer, what is evicted is counted, and hot ones stay."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests import samples
from tests.service.live_service import Service, a_plain_image, running

MODELS, FIT = 50, 10
WEIGHTS = 300_000
"""numbers of 4 bytes: what a net takes is nearly all of its weights"""
HOT = ("m0", "m1")


def write_heavy_net(path: Path, *, seed: int) -> Path:
    """Write a net of three classes whose weights take 1.2 MB; its seed decides which class answers."""
    size = 16 * 16 * 3
    first = np.random.default_rng(seed).normal(0, 0.01, (size, WEIGHTS // size)).astype(np.float32)
    last = np.zeros((WEIGHTS // size, 3), np.float32)
    bias = np.eye(3, dtype=np.float32)[seed % 3] * 5
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "first"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "last"], ["raw"]),
        helper.make_node("Add", ["raw", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    constants = {"first": first, "last": last, "bias": bias}
    graph = helper.make_graph(
        nodes,
        f"heavy-{seed}",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 16, 16, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("many")
    budget = FIT * WEIGHTS * 4 * 5 // 4  # a net takes its weights, and a little more
    with running(samples.quick_settings(folder / "home", loaded_models_max_bytes=budget)) as live:
        for number in range(MODELS):
            live.publish(f"m{number}", write_heavy_net(folder / f"{number}.onnx", seed=number))
        yield live


def test_fifty_models_under_a_budget_for_ten_answer_everybody_and_the_hot_ones_stay(service: Service) -> None:
    image = base64.b64encode(a_plain_image((0, 250, 0))).decode()
    residents = service.context.sessions.residents
    hot_blobs = [service.context.references.resolve(name, owner="local").blob for name in HOT]
    most_bytes = 0
    hot_loads: list[int] = []

    async def ask(client: httpx.AsyncClient, name: str) -> str:
        answer = await client.post("/predict", json={"model": name, "inputs": [image]})
        answer.raise_for_status()
        assert answer.json()["model"] == name
        return str(answer.json()["predictions"][0]["label"])

    async def crowd() -> list[tuple[int, str]]:
        nonlocal most_bytes
        answers: list[tuple[int, str]] = []
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            for turn in range(3):
                for start in range(0, MODELS, 4):
                    names = [*HOT, *(f"m{number % MODELS}" for number in range(start, start + 4))]
                    labels = await asyncio.gather(*(ask(client, name) for name in names))
                    answers += [(int(name[1:]), label) for name, label in zip(names, labels, strict=True)]
                    most_bytes = max(most_bytes, residents.size_bytes)
                    if turn:
                        hot_loads.append(sum(residents.find(blob) is not None for blob in hot_blobs))
        return answers

    answers = asyncio.run(crowd())

    assert [label for _, label in answers] == [("red", "green", "blue")[number % 3] for number, _ in answers]
    assert residents.evictions >= 2 * (MODELS - FIT)
    assert most_bytes <= (FIT + 2) * WEIGHTS * 4 * 5 // 4  # what a load takes is known after it
    assert set(hot_loads) == {len(HOT)}
    assert FIT // 2 <= len(service.context.sessions.loaded) <= FIT + 2
