"""Guarantees of serving: rest, a swap, overload, clients that leave, and more models than memory.

    python -m benchmarks.serving_load [--quick] [--only LINE …]

Espalier runs as `espalier up` starts it, with nets of random weights. The lines:
- idle: CPU time of the API with five models loaded and no request.
- swap: the default alias moves between two versions under 64 connections; nothing fails, and no answer to a request
  that was sent after a move is of the version before.
- overload: four times as many requests as can be answered, by an open loop, each with a deadline of twice the
  uncongested p99; those that are accepted are answered in that time, the others are refused quickly.
- disconnects: a thousand clients send a request and leave; nothing more is run for them, and nothing of them stays.
- models: fifty models where ten fit; none fails, and the five that are asked all the time are as fast as before.
"""

import argparse
import asyncio
import itertools
import math
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.home import home
from benchmarks.serving import nets, processes
from benchmarks.serving.asking import Answered, closed_loop, leave, open_loop
from benchmarks.serving.client import Ask
from benchmarks.serving.contest import espalier_up
from benchmarks.serving.nets import NETS
from benchmarks.serving.processes import Server
from benchmarks.verdict import Goal, conclude

LARGE, SMALL = "mobilenet-v2", "tiny"
IDLE_MODELS, MODELS, ROOM, HOT = 5, 50, 10, 5
CLIENTS = 1000
OVERLOAD = 4.0
UNCONGESTED = 0.3
"""of the capacity"""
IN_MEMORY = 1.2
"""bytes that a small net takes, in bytes of its file"""
OK, TOO_MANY = 200, 429
SETTLE_S = 3.0


@dataclass(frozen=True)
class Live:
    """A running stack, with what a line may ask of it."""

    server: Server
    quick: bool

    @property
    def api(self) -> int:
        """Return the pid of the API's first process."""
        for pid in processes.descendants(self.server.process.pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"service.server" in command and b"keeper" not in command:
                return pid
        raise AssertionError("the stack has an API")

    def metric(self, name: str) -> float:
        """Return the sum of a counter's series."""
        text = httpx.get(f"{self.server.url}/metrics", timeout=30).raise_for_status().text
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

    def descriptors(self) -> int:
        """Return how many files the API's processes have open."""
        pids = [self.api, *processes.descendants(self.api)]
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


@dataclass(frozen=True)
class Move:
    """A move of the alias to a version; times are of `time.monotonic()`."""

    version: int
    began_s: float
    ended_s: float


class Shown:
    """Figures of the lines, and their goals."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.goals: list[Goal] = []

    def at_most(self, figure: str, value: float, goal: float) -> None:
        """Add a figure that has to stay within its goal."""
        self.figures[figure] = value
        self.goals.append(Goal(figure, "at most", goal))

    def at_least(self, figure: str, value: float, goal: float) -> None:
        """Add a figure that has to reach its goal."""
        self.figures[figure] = value
        self.goals.append(Goal(figure, "at least", goal))


def idle(live: Live, shown: Shown) -> None:
    """Measure what five loaded models cost while nobody asks."""
    for number in range(IDLE_MODELS):
        _load(live, f"small-{number}", net=SMALL)
    time.sleep(SETTLE_S)
    seconds = 10.0 if live.quick else 60.0
    before_s, stack_before_s = processes.cpu_s(live.api), processes.cpu_s(live.server.process.pid)
    time.sleep(seconds)
    shown.at_most("idle: CPU-s a minute, API", (processes.cpu_s(live.api) - before_s) * 60 / seconds, 0.1)
    stack_s = processes.cpu_s(live.server.process.pid) - stack_before_s
    shown.figures["idle: CPU-s a minute, whole stack"] = stack_s * 60 / seconds


def swap(live: Live, shown: Shown) -> None:
    """Move the alias again and again while 64 connections ask."""
    moves = 3 if live.quick else 10
    answers, moved = asyncio.run(_swapped(live, moves=moves))
    wrong = 0
    for move, following in itertools.pairwise([*moved, Move(0, math.inf, math.inf)]):
        wanted = f'"version":{move.version},'.encode()
        asked = [each for each in answers if move.ended_s < each.due_s and each.ended_s < following.began_s]
        wrong += sum(wanted not in each.body for each in asked)
    shown.figures |= {"swap: moves": moves, "swap: answers": len(answers)}
    shown.at_most("swap: failed", sum(each.status != OK for each in answers), 0)
    shown.at_most("swap: answers of the version before", wrong, 0)
    shown.figures["swap: p99 ms"] = _p99(answers)


async def _swapped(live: Live, *, moves: int) -> tuple[list[Answered], list[Move]]:
    """Return all answers and all moves."""
    over, moved = asyncio.Event(), list[Move]()
    asked = Ask("/predict?model=swapped", _jpeg(SMALL), JPEG)
    asking = asyncio.create_task(closed_loop(live.server.url, lambda: asked, connections=64, is_over=over.is_set))
    async with httpx.AsyncClient(base_url=live.server.url, timeout=60) as client:
        for number in range(moves):
            await asyncio.sleep(1.0)
            version, began_s = 1 + number % 2, time.monotonic()
            answer = await client.put("/models/swapped/aliases/default", json={"version": version})
            answer.raise_for_status()
            moved.append(Move(version, began_s, time.monotonic()))
        await asyncio.sleep(1.0)
    over.set()
    return await asking, moved


def overload(live: Live, shown: Shown) -> None:
    """Send four times what can be answered, and look at both kinds of answers."""
    _load(live, LARGE)
    url, seconds = live.server.url, 3.0 if live.quick else 15.0
    plain = Ask(f"/predict?model={LARGE}", _jpeg(LARGE), JPEG)
    began_s = time.monotonic()
    answers = asyncio.run(
        closed_loop(url, lambda: plain, connections=64, is_over=lambda: time.monotonic() - began_s > seconds)
    )
    capacity = len(answers) / seconds
    uncongested_ms = _p99(asyncio.run(open_loop(url, plain, rate=UNCONGESTED * capacity, seconds=seconds)))
    urgent = Ask(plain.path, plain.body, JPEG | {"X-Request-Deadline": str(max(1, round(2 * uncongested_ms)))})
    before = processes.rss_bytes(live.api)
    answers = asyncio.run(open_loop(url, urgent, rate=OVERLOAD * capacity, seconds=seconds))
    accepted = [each for each in answers if each.status == OK]
    refused = [each for each in answers if each.status == TOO_MANY]
    shown.figures |= {
        "overload: capacity, requests/s": capacity,
        "overload: uncongested p99 ms": uncongested_ms,
        "overload: accepted requests/s": len(accepted) / seconds,
        "overload: refused requests/s": len(refused) / seconds,
    }
    shown.at_most("overload: accepted p99 / uncongested p99", _p99(accepted) / uncongested_ms, 2.0)
    shown.at_most("overload: refused p99 / uncongested p99", _p99(refused) / uncongested_ms, 1.0)
    shown.at_least("overload: accepted / capacity", len(accepted) / seconds / capacity, 0.8)
    shown.at_most("overload: neither", len(answers) - len(accepted) - len(refused), 0)
    shown.at_most("overload: memory, times before", processes.rss_bytes(live.api) / before, 1.1)


def disconnects(live: Live, shown: Shown) -> None:
    """Have a thousand clients leave, twice: the first time memory grows to what the second needs."""
    _load(live, LARGE)
    asked = Ask(f"/predict?model={LARGE}", _jpeg(LARGE), JPEG)
    clients = 100 if live.quick else CLIENTS
    asyncio.run(leave(live.server.url, asked, clients=clients, after_s=1.0))
    time.sleep(SETTLE_S)
    before = processes.rss_bytes(live.api), live.descriptors()
    ran_before = live.metric("espalier_predicted_images_total")
    asyncio.run(leave(live.server.url, asked, clients=clients, after_s=1.0))
    time.sleep(0.5)  # the running batch
    began_s = processes.cpu_s(live.api)
    time.sleep(SETTLE_S)
    shown.at_most("disconnects: CPU-s after the clients left", processes.cpu_s(live.api) - began_s, 0.3)
    ran = live.metric("espalier_predicted_images_total") - ran_before
    shown.figures["disconnects: images that had run before"] = ran
    shown.at_most("disconnects: more open files", live.descriptors() - before[1], 2)
    shown.at_most("disconnects: memory, times before", processes.rss_bytes(live.api) / before[0], 1.05)


def models(live: Live, shown: Shown) -> None:
    """Ask fifty models where ten fit, and five of them all the time."""
    seconds = 5.0 if live.quick else 20.0
    hot = [Ask(f"/predict?model=small-{number}", _jpeg(SMALL), JPEG) for number in range(HOT)]
    cold = [Ask(f"/predict?model=small-{number}", _jpeg(SMALL), JPEG) for number in range(HOT, MODELS)]
    alone, _ = asyncio.run(_hot_and_cold(live.server.url, hot, [], seconds=seconds))
    before = live.metric("espalier_model_evictions_total")
    beside, others = asyncio.run(_hot_and_cold(live.server.url, hot, cold, seconds=2 * seconds))
    shown.figures |= {"models: hot p99 ms, alone": _p99(alone), "models: answers of the others": len(others)}
    shown.at_most("models: failed", sum(each.status != OK for each in [*alone, *beside, *others]), 0)
    evicted = live.metric("espalier_model_evictions_total") - before
    shown.at_least("models: evictions", evicted, 1 if live.quick else MODELS - ROOM)
    shown.figures["models: in memory at the end"] = live.metric("espalier_loaded_models")
    shown.at_most("models: hot p99, times alone", _p99(beside) / _p99(alone), 2.0)


async def _hot_and_cold(
    url: str, hot: Sequence[Ask], cold: Sequence[Ask], *, seconds: float
) -> tuple[list[Answered], list[Answered]]:
    ended_s = time.monotonic() + seconds

    def asking(asks: Sequence[Ask], connections: int) -> "asyncio.Future[list[Answered]]":
        turns = itertools.cycle(asks)
        return asyncio.ensure_future(
            closed_loop(url, lambda: next(turns), connections=connections, is_over=lambda: time.monotonic() > ended_s)
        )

    answered = asking(hot, HOT)
    others = await asking(cold, 1) if cold else []
    return await answered, others


JPEG = {"Content-Type": "image/jpeg"}
LINES: dict[str, Callable[[Live, Shown], None]] = {
    "idle": idle,
    "swap": swap,
    "overload": overload,
    "disconnects": disconnects,
    "models": models,
}


def main() -> None:
    """Show the lines, each on a stack of its own, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter, without a verdict")
    parser.add_argument("--only", nargs="+", choices=LINES, default=list(LINES), help="lines to show; left out: all")
    options = parser.parse_args()
    processes.adopt_orphans()
    processes.end_well_on_sigterm()
    shown = Shown()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="espalier-load-")))
        settings = {"models": {"LOADED_MODELS_MAX_BYTES": str(round(ROOM * IN_MEMORY * _publish(folder)))}}
        for line in options.only:
            print(f"--- {line}", flush=True)
            with espalier_up(folder / "home", folder, **settings.get(line, {})) as server:
                LINES[line](Live(server, options.quick), shown)
    conclude("serving_load", shown.figures, goals=shown.goals, binding=not options.quick)


def _publish(folder: Path) -> int:
    """Publish the large net, many small ones, and one in two versions; return the bytes of a small one's file."""
    files = {name: nets.write(NETS[name], folder / f"{name}.onnx") for name in (LARGE, SMALL)}
    with home(folder) as store:
        opened = store.open(nets.SAMPLE, owner=nets.OWNER)
        nets.publish_file(opened, NETS[LARGE], files[LARGE], model=LARGE)
        names = [*(f"small-{number}" for number in range(MODELS)), "swapped", "swapped"]
        for number, name in enumerate(names):
            nets.publish_file(opened, NETS[SMALL], nets.numbered(files[SMALL], number), model=name)
    return files[SMALL].stat().st_size


def _load(live: Live, model: str, *, net: str = LARGE) -> None:
    """Ask a model until every process of the API has loaded it."""
    for _ in range(2 * len(os.sched_getaffinity(0))):
        url = f"{live.server.url}/predict?model={model}"
        httpx.post(url, content=_jpeg(net), headers=JPEG, timeout=60).raise_for_status()


def _jpeg(net: str) -> bytes:
    return NETS[net].jpeg()


def _p99(answers: Sequence[Answered]) -> float:
    times = [each.took_ms for each in answers]
    return statistics.quantiles(times, n=100)[98] if len(times) > 1 else 0.0


if __name__ == "__main__":
    main()
