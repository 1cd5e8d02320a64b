"""Waiting of OpenMP threads: spinning (the library's default) or asleep, on a quiet host and on a loaded one.

    python -m benchmarks.waiting [--steps N] [--rounds N] [--busy N ...]

Both policies train the same net in processes of their own, in turns; `--busy` are the counts of busy loops beside them.
The figure is seconds per image of a training step in fp32, on all cores.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.verdict import Goal, conclude, interleaved, median_ratio

NETS: Final = {"small_cnn": 64, "resnet18": 16}
"""net → images of a step"""
SIDE = 64
POLICIES: Final[dict[str, dict[str, str]]] = {"spin": {}, "sleep": {"OMP_WAIT_POLICY": "PASSIVE"}}
LOADED_GAIN, QUIET_LOSS = 1.2, 1.05


class Trainer:
    """A process that takes steps when it is asked to."""

    def __init__(self, net: str, *, steps: int, policy: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | policy
        command = [sys.executable, "-m", "benchmarks.waiting", "--steps", str(steps), "--train", net]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.measure()  # the imports, and the kernels that the first steps compile

    def measure(self) -> float:
        """Return seconds per image."""
        assert self._process.stdin is not None, "it is a pipe"
        assert self._process.stdout is not None, "it is a pipe"
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Compare the policies and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=6, help="steps of one measurement")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 2, 8], help="counts of busy loops beside the nets")
    parser.add_argument("--train", choices=NETS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        serve_steps(options.train, steps=options.steps)
        return
    figures: dict[str, float] = {}
    for net in NETS:
        figures |= compare(net, steps=options.steps, rounds=options.rounds, loads=options.busy)
    loads = [load for load in options.busy if load]
    conclude(
        "waiting",
        figures,
        goals=[Goal(f"{net}, {load} busy: spin / sleep", "at least", LOADED_GAIN) for net in NETS for load in loads]
        + [Goal(f"{net}, 0 busy: sleep / spin", "at most", QUIET_LOSS) for net in NETS if 0 in options.busy],
        binding=False,
    )


def compare(net: str, *, steps: int, rounds: int, loads: list[int]) -> dict[str, float]:
    """Return seconds per image of both policies at each load, and their ratios."""
    trainers = {name: Trainer(net, steps=steps, policy=policy) for name, policy in POLICIES.items()}
    figures: dict[str, float] = {}
    try:
        for load in loads:
            with busy_loops(load):
                measured = interleaved({name: each.measure for name, each in trainers.items()}, rounds=rounds)
            case = f"{net}, {load} busy"
            figures |= {f"{case}: {name}, s": statistics.median(times) for name, times in measured.items()}
            if load:
                figures[f"{case}: spin / sleep"] = median_ratio(measured["spin"], measured["sleep"])
            else:
                figures[f"{case}: sleep / spin"] = median_ratio(measured["sleep"], measured["spin"])
    finally:
        for trainer in trainers.values():
            trainer.close()
    return figures


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep so many processes calculating for nothing."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def serve_steps(net: str, *, steps: int) -> None:
    """Take steps for each line of standard input, and answer with seconds per image."""
    import torch  # noqa: PLC0415  the process that compares needs none of it
    from pydantic import TypeAdapter  # noqa: PLC0415  as above

    from models_store.tasks.image.backbones.backbone import Backbone  # noqa: PLC0415  as above
    from workers.tasks.image import backbones  # noqa: PLC0415  as above

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    part = TypeAdapter(Backbone).validate_python({"kind": net, "weights": None})
    model = backbones.build(part, size=SIDE, channels=3, weights_dir=Path()).net.to(memory_format=torch.channels_last)
    images = torch.randn(NETS[net], 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            model(images).float().square().mean().backward()
            optimizer.step()
        sys.stdout.write(f"{(time.perf_counter() - began) / steps / NETS[net]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
