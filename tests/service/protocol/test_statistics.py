"""Statistics of what versions have answered: of one process, and of several that share a folder."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from models_store.models.served import Served
from service.inference.engine import Answer, Work
from service.processes.board import Board
from service.processes.inbox import Inbox
from service.processes.place import Place
from service.protocol.statistics import SHARE_S, StatisticsEngine

SERVED = Served("local", "flowers", 1, "fp32", "0" * 64, {}, {}, {})

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Answering:
    """An engine that answers at once."""

    async def infer(self, _served: Served, _work: Work) -> Answer:
        return Answer([np.zeros(1, np.float32)], 0.0, 0.0, 0.001, 1, "CPUExecutionProvider")


def a_place(folder: Path, number: int = 0) -> Place:
    return Place(number, Board(2), [Inbox(), Inbox()], folder)


async def ask(engine: StatisticsEngine, *, times: int = 1) -> None:
    for _ in range(times):
        await engine.infer(SERVED, Work([b"x"], ["/inputs/0"]))


async def count_of(engine: StatisticsEngine) -> int:
    return int((await engine.of_version("local", "flowers", 1))["inference_count"])


async def test_a_process_that_replaces_a_dead_one_counts_on(tmp_path: Path) -> None:
    dead = StatisticsEngine(Answering(), a_place(tmp_path))
    await ask(dead, times=3)
    dead.share()

    replacing = StatisticsEngine(Answering(), a_place(tmp_path))
    await ask(replacing)
    replacing.share()

    assert await count_of(replacing) == 4
    assert await count_of(StatisticsEngine(Answering(), a_place(tmp_path, 1))) == 4


async def test_counts_are_shared_soon_after_a_request_though_nobody_asks(tmp_path: Path) -> None:
    engine = StatisticsEngine(Answering(), a_place(tmp_path))
    await ask(engine, times=2)
    await asyncio.sleep(SHARE_S + 0.01)  # one loop has both clocks, so they come in this order on any host

    assert await count_of(StatisticsEngine(Answering(), a_place(tmp_path))) == 2


async def test_a_folder_that_takes_no_file_fails_no_request(tmp_path: Path) -> None:
    folder = tmp_path / "counts"
    folder.mkdir()
    engine = StatisticsEngine(Answering(), a_place(folder))
    await ask(engine)
    folder.rmdir()
    engine.share()

    await ask(engine)

    folder.mkdir()
    assert await count_of(engine) == 2
