"""Compression by real jobs on real images: gains, refusals, and errors for bad input.

    python -m benchmarks.compression [--only LINE …] [--quick] [--hymenoptera ZIP] [--keep DIR]

Each line trains or takes up a net, and has trainer processes of their own make and measure its smaller variants: the
whole pipeline, as a worker starts it. Times are of one thread, one image at a time, beside fp32. Fashion-MNIST ships
with the project; the ants and bees of PyTorch's transfer-learning tutorial don't, for want of a licence:
`--hymenoptera` names a zip of their class folders, and without one a part of Fashion-MNIST takes their place. With
`--keep` the trained nets stay in a folder, and a second run starts from them. The line `any-size` also asks a browser:
`npm ci` in docs/examples and Debian's `chromium` bring what it needs. All lines take some 20 minutes on two cores.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import browser
from benchmarks.compression_lines import any_size, bad_input, int8, pruning, refusals, sensitive_net
from benchmarks.compression_lines.setup import Setup, Shown
from benchmarks.home import home
from benchmarks.jobs import JobFailed
from benchmarks.verdict import Goal, conclude

LINES: dict[str, Callable[[Setup], Shown]] = {
    "int8": int8.show,
    "pruning": pruning.show,
    "refusals": refusals.show,
    "sensitive": sensitive_net.show,
    "any-size": any_size.show,
    "bad-input": bad_input.show,
}


def main() -> None:
    """Show the lines, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=LINES, default=list(LINES), help="lines to show; none: all")
    parser.add_argument("--quick", action="store_true", help="an epoch on few and small images, without a verdict")
    parser.add_argument("--hymenoptera", type=Path, help="zip of the ants and bees")
    parser.add_argument("--keep", type=Path, help="folder in which trained nets stay for another run")
    options = parser.parse_args()
    if "any-size" in options.only and (needed := browser.missing()):
        print(f"any-size will miss its goal: {needed}", flush=True)
    figures: dict[str, float] = {}
    goals: list[Goal] = []
    with _folder(options.keep) as folder, home(folder) as store:
        setup = Setup(store, folder, options.hymenoptera, quick=options.quick)
        for line in options.only:
            shown = _shown(line, setup)
            figures |= shown.figures
            goals += shown.goals
    conclude("compression", figures, goals=goals, binding=not options.quick)


def _shown(line: str, setup: Setup) -> Shown:
    """Return what a line shows; one that fails is a goal missed, and no reason to leave out the others."""
    print(f"--- {line}", flush=True)
    try:
        return LINES[line](setup)
    except JobFailed as failure:
        print(f"{line}: {failure}", flush=True)
        failed = Shown()
        failed.at_least(f"{line}: shown", math.nan, goal=1)
        return failed


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="espalier-benchmark-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
