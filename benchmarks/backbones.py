"""Every backbone: it trains a step, it exports, and its file answers as the net does.

    python -m benchmarks.backbones [KIND ...] [--own-size]

Each kind gets random weights, norms that have seen a batch (an untrained net's answers are all alike, and alike is no
proof) and a head for 10 classes; it takes one step of gradient descent on 4 images, is exported at 64 px (or, with
`--own-size`, at the size that it was made for) and run by onnxruntime on one core. Its probabilities and torch's are
both compared with those of the same net in float64: a deep net rounds by more than a shallow one, so what the file may
be off by is what torch itself is off by, times 10, and 1e-5 in any case. Exits with 1 if a kind fails.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import nn
from torch.nn import functional

from models_store.tasks.image.backbones.backbone import KINDS, Backbone
from models_store.tasks.image.backbones.network import Network
from workers.export import sessions
from workers.export.graph import export
from workers.tasks.image import backbones
from workers.tasks.image.examples import INPUT
from workers.tasks.image.served import served

CLASSES = 10
SMALL = 64
MOST_ROUNDING, LEAST_BOUND = 10, 1e-5
RUNS = 15


@dataclass(frozen=True)
class Row:
    """What was found of one kind; errors are the largest of any probability, against float64."""

    kind: str
    size: int
    parameters: int
    untrained: int
    export_s: float
    file_error: float
    torch_error: float
    latency_ms: float
    file_mb: float

    @property
    def is_good(self) -> bool:
        """Return whether every parameter took part in the step, and the file answers as the net."""
        return self.untrained == 0 and self.file_error <= max(LEAST_BOUND, MOST_ROUNDING * self.torch_error)


def main() -> None:
    """Try the kinds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"some of {', '.join(KINDS)}; none: all")
    parser.add_argument("--own-size", action="store_true", help="export at the size that each was made for")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.write(
        "| kind | px | parameters | export s | error | torch's | ms | MB | |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    rows = [_described(row) for row in _tried(options.kinds or KINDS, own_size=options.own_size)]
    sys.exit(0 if all(row.is_good for row in rows) else 1)


def _tried(kinds: Iterable[str], *, own_size: bool) -> Iterable[Row]:
    for kind in kinds:
        part: Network = TypeAdapter(Backbone).validate_python({"kind": kind, "weights": None})
        yield try_one(part, size=part.input_size if own_size else SMALL)


def _described(row: Row) -> Row:
    verdict = "ok" if row.is_good else f"{row.untrained} parameters without gradient" if row.untrained else "differs"
    sys.stdout.write(
        f"| {row.kind} | {row.size} | {row.parameters / 1e6:.2f} M | {row.export_s:.1f} | {row.file_error:.1e} "
        f"| {row.torch_error:.1e} | {row.latency_ms:.2f} | {row.file_mb:.1f} | {verdict} |\n"
    )
    sys.stdout.flush()
    return row


def try_one(part: Network, *, size: int) -> Row:
    """Return what is found of one backbone with random weights."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    images_NHWC = random.integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    images_NCHW = (torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    backbone = backbones.build(part, size=size, channels=3, weights_dir=Path("unused"))
    head = nn.Linear(backbone.feature_count, CLASSES)
    settle(backbone.net, head, images_NCHW)
    net = nn.Sequential(backbone.net, head)
    untrained = _step(net, images_NCHW)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        began = time.monotonic()
        export(
            served(net, mean=(0.5,) * 3, std=(0.5,) * 3, size=size),
            opset=20,
            labels=[str(number) for number in range(CLASSES)],
            card={},
            path=path,
        )
        export_s = time.monotonic() - began
        session = sessions.open_session(path, device="cpu", threads=1)
        answers_NK = session.run(None, {INPUT: images_NHWC})[0]
        with torch.no_grad():
            single_NK = torch.softmax(net.eval()(images_NCHW), dim=1).numpy()
            exact_NCHW = (torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).double() / 255 - 0.5) / 0.5
            exact_NK = torch.softmax(copy.deepcopy(net).double()(exact_NCHW), dim=1).numpy()
        times = [_seconds(session, images_NHWC[:1]) for _ in range(RUNS)]
        return Row(
            part.kind,
            size,
            sum(parameter.numel() for parameter in backbone.net.parameters()),
            untrained,
            export_s,
            float(np.abs(answers_NK - exact_NK).max()),
            float(np.abs(single_NK - exact_NK).max()),
            1000 * statistics.median(times),
            path.stat().st_size / 1e6,
        )


def settle(net: nn.Module, head: nn.Linear, images_NCHW: torch.Tensor) -> None:
    """Let batch norms take the images' statistics for their own, and spread the logits to about one."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain mean over what it has seen
    with torch.no_grad():
        net.train()(images_NCHW)
        features_NF = net.eval()(images_NCHW)
        mean_F = features_NF.mean(dim=0)
        spread = (features_NF - mean_F).std().clamp(min=1e-6)
        head.weight.normal_(0, float(1 / (spread * len(mean_F) ** 0.5)))
        head.bias.copy_(-head(mean_F) + head.bias)


def _step(net: nn.Sequential, images_NCHW: torch.Tensor) -> int:
    """Take a small step and return how many parameters had no part in it."""
    net.train()
    targets_N = torch.arange(len(images_NCHW)) % CLASSES
    loss: torch.Tensor = functional.cross_entropy(net(images_NCHW), targets_N)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature
    untrained = sum(parameter.grad is None or not parameter.grad.isfinite().all() for parameter in net.parameters())
    torch.optim.SGD(net.parameters(), lr=1e-5).step()
    net.zero_grad(set_to_none=True)
    return untrained


def _seconds(session: onnxruntime.InferenceSession, images_NHWC: NDArray[np.uint8]) -> float:
    began = time.perf_counter()
    session.run(None, {INPUT: images_NHWC})
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
