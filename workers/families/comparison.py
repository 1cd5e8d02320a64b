"""Two trials on the same unseen examples: how much better one is, and whether that may be chance. No torch here."""

# N examples, K outputs

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.targets import Target

Floats = npt.NDArray[np.float64]
Answers = Mapping[str, npt.NDArray[Any]]
"""a child's file of answers: `{split}_rows` (N,), `{split}_outputs` (N, K) and `{split}_targets` for val and test"""

RESAMPLES = 2000
CHUNK = 100  # resamples drawn at once


def compare(baseline: Answers, other: Answers, *, target: Target, seed: int) -> dict[str, Any] | None:
    """Return the gain of `other` over `baseline` on the test split, ready for JSON; None when there is no test split.

    `gain` is positive where `other` is better, with its 95 % interval (percentile bootstrap over examples, Efron 1979).
    `p_value` is that of McNemar's test on the examples of which one alone is right, exact (McNemar 1947); where answers
    are not right or wrong as a whole, of Wilcoxon's signed-rank test on the examples' scores (Wilcoxon 1945).
    """
    if "test_rows" not in baseline or "test_rows" not in other:
        return None
    assert np.array_equal(baseline["test_rows"], other["test_rows"]), "both answer the same examples"
    before_N, after_N = _scores(baseline, target), _scores(other, target)
    difference_N = after_N - before_N
    low, high = _interval(difference_N, seed=seed)
    sign = 1 if target.paired.better == "higher" else -1
    return {
        "split": "test",
        "images": len(difference_N),
        "metric": target.paired.name,
        "baseline": sign * float(before_N.mean()),
        "best": sign * float(after_N.mean()),
        "gain": float(difference_N.mean()),
        "low": low,
        "high": high,
        **_test(difference_N, target),
    }


def _scores(answers: Answers, target: Target) -> Floats:
    """Return each example's score, higher is better."""
    return target.score_each(target.answers(answers["test_outputs"]), answers["test_targets"])


def _interval(difference_N: Floats, *, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    values, counts = np.unique(difference_N, return_counts=True)
    shares = counts / len(difference_N)
    means = [
        generator.multinomial(len(difference_N), shares, size=CHUNK) @ values / len(difference_N)
        for _ in range(RESAMPLES // CHUNK)
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def _test(difference_N: Floats, target: Target) -> dict[str, Any]:
    from scipy import stats  # noqa: PLC0415  seconds that other supervisors are spared

    if target.right_or_wrong:
        gained, lost = int((difference_N > 0).sum()), int((difference_N < 0).sum())
        p_value = stats.binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
        return {
            "test": "mcnemar_exact",
            "p_value": float(p_value),
            "only_best_right": gained,
            "only_baseline_right": lost,
        }
    p_value = stats.wilcoxon(difference_N).pvalue if difference_N.any() else 1.0
    return {"test": "wilcoxon_signed_rank", "p_value": float(p_value)}
