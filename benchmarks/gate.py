"""Error rates of the gate on accuracy: accepted variants that lose too much, and refused ones that lose nothing.

    python -m benchmarks.gate [--quick]

For classes the chances are exact: images are lost and won by a multinomial, and every outcome is judged. Beside the
gate stand three other rules: the measured loss alone, the interval of Agresti and Min (2005, doi:10.1002/sim.1781) and
that of Tango (1998, Statistics in Medicine 17, 891). For labels and numbers, answers are drawn and judged (a fixed
seed): errors that are spread over all images, and errors of a few images that are lost altogether.
"""

# N images, K labels

import argparse
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.verdict import Goal, conclude
from models_store.spec.sample_size import Z, fewest_examples
from models_store.targets import LABELS as OF_LABELS
from models_store.targets import NUMBER, ONE_CLASS
from workers.compression import gate
from workers.compression.gate import Drop, paired_drop

LIMIT = 0.02
"""`max_accuracy_drop`, the default"""
LOSSES = (0.0, LIMIT, 2 * LIMIT, 0.045, 3 * LIMIT)
WON = (0.0, 0.005, 0.02, 0.05)
"""shares of images that only the variant has right; as many more are lost as the loss says"""
COUNTS = (20, 36, 50, 80, 112, 150, fewest_examples(LIMIT), 200, 300, 500, 1000, 2000, 5000)
QUICK_COUNTS = (50, fewest_examples(LIMIT), 500)
DRAWS, QUICK_DRAWS = 1000, 50
SEED = 0
LABELS = 5
NOISE = 0.3  # of fp32's numbers, in standard deviations of the true ones
UNLIKELY = 1e-9  # an outcome beyond this share is left out

Floats = npt.NDArray[np.float64]
Rule = Callable[[int, int, int], bool]
"""whether a variant is accepted that loses so many and wins so many of N images"""
World = Callable[[np.random.Generator, int, float], Drop]
"""a drop, as measured on N drawn images of a variant that loses so much"""


def main() -> None:
    """Calculate, draw and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few image counts and draws, no goals")
    options = parser.parse_args()
    counts, draws = (QUICK_COUNTS, QUICK_DRAWS) if options.quick else (COUNTS, DRAWS)
    figures: dict[str, float] = {}
    for name, rule in RULES.items():
        chances = {
            (n, loss, won): accepted(rule, n, loss=loss, won=won) for n in counts for loss in LOSSES for won in WON
        }
        _show(name, chances, counts)
        for loss in LOSSES[1:]:
            worst = max(chances[n, loss, won] for n in counts for won in WON)
            figures[f"{name}: accepted though {100 * loss:g} points are lost"] = worst
        figures[f"{name}: accepted, nothing lost, 1 % of 1,000 answers differ"] = accepted(
            rule, 1000, loss=0, won=0.005
        )
    for name, world in WORLDS.items():
        shares = {(n, loss): _drawn(world, n, loss, draws=draws) for n in counts for loss in LOSSES}
        _show_drawn(name, shares, counts)
        figures[f"{name}: accepted though 4.5 points are lost"] = max(shares[n, 0.045] for n in counts)
    conclude("gate", figures, goals=_goals(figures), binding=not options.quick)


def accepted(rule: Rule, images: int, *, loss: float, won: float) -> float:
    """Return the chance that the rule accepts a variant that loses `loss` and wins the share `won` of all images."""
    lost = loss + won
    chances = _binomial(images, won)
    total = 0.0
    for gained in range(images + 1):
        if chances[gained] < UNLIKELY:
            if gained > images * won:
                break
            continue
        most = _most_lost(rule, images, gained)
        of_lost = _binomial(images - gained, lost / (1 - won))
        total += float(chances[gained] * of_lost[: most + 1].sum())
    return total


def _most_lost(rule: Rule, images: int, gained: int) -> int:
    """Return the most lost images with which the rule still accepts, -1 where it never does."""
    low, high = -1, images - gained
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if rule(middle, gained, images) else (low, middle - 1)
    return low


@functools.cache
def _binomial(count: int, share: float) -> Floats:
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    hits = np.arange(count + 1)
    if share == 0:
        none_hits: Floats = (hits == 0).astype(np.float64)
        return none_hits
    chances: Floats = np.exp(
        logs[count] - logs - logs[::-1] + hits * math.log(share) + (count - hits) * math.log1p(-share)
    )
    return chances


# ---- rules for classes


@functools.cache
def _by_the_gate(lost: int, won: int, images: int) -> bool:
    true_N = np.zeros(images, np.int64)
    others_N, answered_N = true_N.copy(), true_N.copy()
    answered_N[:lost] = 1
    others_N[lost : lost + won] = 1
    return _passes(paired_drop(ONE_CLASS, answered_N, others_N, true_N))


def _passes(drop: Drop) -> bool:
    loses = gate.loss_beyond_limit(drop, accuracy=1, allowed=LIMIT)
    return loses is None and gate.too_few_examples(drop, accuracy=1, allowed=LIMIT, examples=None) is None


def _by_the_loss(lost: int, won: int, images: int) -> bool:
    return (lost - won) / images <= LIMIT


def _by_agresti_and_min(lost: int, won: int, images: int) -> bool:
    mean = (lost - won) / (images + 2)
    return mean + Z * math.sqrt(((lost + won + 1) / (images + 2) - mean**2) / (images + 2)) <= LIMIT


def _by_tango(lost: int, won: int, images: int) -> bool:
    """Return whether a loss of LIMIT is refused by the score test, with the likeliest share of won images under it."""
    linear = (lost + won) * (1 - LIMIT) - 2 * won * LIMIT - 2 * (images - lost - won) * LIMIT
    share = (linear + math.sqrt(linear**2 + 8 * images * won * LIMIT * (1 - LIMIT))) / (4 * images)
    return lost - won - images * LIMIT <= -Z * math.sqrt(images * (2 * share + LIMIT * (1 - LIMIT)))


RULES: Mapping[str, Rule] = {
    "the gate": _by_the_gate,
    "the measured loss": _by_the_loss,
    "Agresti and Min": _by_agresti_and_min,
    "Tango": _by_tango,
}

# ---- labels and numbers


def _labels(generator: np.random.Generator, images: int, loss: float, *, at_once: int) -> Drop:
    """Return the drop of a variant that loses `at_once` labels of an image, or none; 1 % of the images win as many."""
    others_NK = np.ones((images, LABELS), np.bool_)
    answered_NK = others_NK.copy()
    won = 0.01
    kinds_N = generator.random(images)
    answered_NK[kinds_N < won + loss * LABELS / at_once, :at_once] = False
    others_NK[kinds_N > 1 - won, :at_once] = False
    return paired_drop(OF_LABELS, answered_NK, others_NK, np.ones((images, LABELS), np.float32))


def _numbers(
    generator: np.random.Generator,
    images: int,
    loss: float,
    *,
    change: Callable[[np.random.Generator, Floats, float], Floats],
) -> Drop:
    true_N = generator.normal(size=images)
    others_N = true_N + generator.normal(scale=NOISE, size=images)
    return paired_drop(NUMBER, change(generator, others_N, loss), others_N, true_N[:, None])


def _noisy(generator: np.random.Generator, others_N: Floats, loss: float) -> Floats:
    noisy_N: Floats = others_N + generator.normal(scale=math.sqrt(loss), size=len(others_N))
    return noisy_N


def _shrunk(_: np.random.Generator, others_N: Floats, loss: float) -> Floats:
    # answers (1 - k) t + (1 - k) e lose k² (1 + NOISE²) - 2 k NOISE²
    spread, bend = 1 + NOISE**2, NOISE**2
    return others_N * (1 - ((bend + math.sqrt(bend**2 + spread * loss)) / spread if loss else 0.0))


def _partly_lost(generator: np.random.Generator, others_N: Floats, loss: float) -> Floats:
    return np.where(generator.random(len(others_N)) < loss / (1 - NOISE**2), 0.0, others_N)


WORLDS: Mapping[str, World] = {
    "labels, one of an image": functools.partial(_labels, at_once=1),
    "labels, all of an image": functools.partial(_labels, at_once=LABELS),
    "numbers, noise on all": functools.partial(_numbers, change=_noisy),
    "numbers, all too small": functools.partial(_numbers, change=_shrunk),
    "numbers, some images lost": functools.partial(_numbers, change=_partly_lost),
}


def _drawn(world: World, images: int, loss: float, *, draws: int) -> float:
    generator = np.random.default_rng([SEED, images, round(1000 * loss)])
    return float(np.mean([_passes(world(generator, images, loss)) for _ in range(draws)]))


# ---- what is shown


def _show(rule: str, chances: Mapping[tuple[int, float, float], float], counts: tuple[int, ...]) -> None:
    won = ", ".join(f"{100 * share:g}" for share in WON)
    rows = [
        [f"{n:,}", *(" ".join(f"{100 * chances[n, loss, share]:.1f}" for share in WON) for loss in LOSSES)]
        for n in counts
    ]
    _print(f"accepted by {rule}, %; in each cell: with {won} % of the images won", rows)


def _show_drawn(world: str, shares: Mapping[tuple[int, float], float], counts: tuple[int, ...]) -> None:
    rows = [[f"{n:,}", *(f"{100 * shares[n, loss]:.1f}" for loss in LOSSES)] for n in counts]
    _print(f"{world}: accepted by the gate, %", rows)


def _print(title: str, rows: list[list[str]]) -> None:
    table = Table()
    for column in ["images", *(f"{100 * loss:g} points lost" for loss in LOSSES)]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    console = Console(width=140)
    console.print(title)
    console.print(table)


def _goals(figures: Mapping[str, Any]) -> list[Goal]:
    """Return the goals on the gate; the other rules stand beside it."""
    most = {"2 points": 0.025, "4 points": 0.01, "4.5 points": 0.01, "6 points": 0.001}
    of_classes = [Goal(f"the gate: accepted though {loss} are lost", "at most", value) for loss, value in most.items()]
    of_others = [Goal(f"{world}: accepted though 4.5 points are lost", "at most", 0.05) for world in WORLDS]
    able = Goal("the gate: accepted, nothing lost, 1 % of 1,000 answers differ", "at least", 0.95)
    return [goal for goal in [*of_classes, *of_others, able] if goal.figure in figures]


if __name__ == "__main__":
    main()
