"""Results of one mode, and what they must show."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.serving.client import Load
from benchmarks.verdict import Goal, median_ratio

LEVELS = (1, 8, 32, 64)
"""connections"""
FORMS = ("jpeg", "tensor")
OURS = "espalier"
FASTAPI, FASTEST = "fastapi", "mosec"
OF_LIMIT = {"tensor": 0.90, "jpeg": 0.97}
AHEAD_OF_FASTAPI = 1.3
MOST_FALL = 0.95
"""of the throughput at 8 connections, that at 64 must keep"""

Cell = tuple[str, str, int, str]
"""net, form, connections, server"""


@dataclass
class Results:
    """Every round's measurements."""

    mode: str
    loads: dict[Cell, list[Load]] = field(default_factory=lambda: defaultdict(list))
    limits: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """(net, form) → images per second without HTTP"""
    unusable: dict[str, str] = field(default_factory=dict)
    """peer → why it can't be measured here"""

    @property
    def nets(self) -> list[str]:
        """Return the nets, in their order."""
        return list(dict.fromkeys(net for net, *_ in self.loads))

    def servers(self, net: str) -> list[str]:
        """Return the servers of a net, ours first."""
        return list(dict.fromkeys(server for each, _, _, server in self.loads if each == net))

    def rps(self, net: str, form: str, connections: int, server: str) -> list[float]:
        """Return requests per second of each round."""
        return [load.rps for load in self.loads[net, form, connections, server]]

    def p99_ms(self, net: str, form: str, connections: int, server: str) -> list[float]:
        """Return the 99th percentile of each round."""
        return [load.p99_ms for load in self.loads[net, form, connections, server]]


def figures_and_goals(results: Results) -> tuple[dict[str, float], list[Goal]]:
    """Return the medians, the ratios of rounds, and the goals among them."""
    figures: dict[str, float] = {}
    goals: list[Goal] = []

    def add(figure: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        name = f"{results.mode}, {figure}"
        figures[name] = value
        if at_least is not None:
            goals.append(Goal(name, "at least", at_least))
        if at_most is not None:
            goals.append(Goal(name, "at most", at_most))

    for net in results.nets:
        others = [server for server in results.servers(net) if server != OURS]
        for form in FORMS:
            for level in LEVELS:
                where = f"{net}, {form}, {level}"
                ours_rps, ours_ms = results.rps(net, form, level, OURS), results.p99_ms(net, form, level, OURS)
                add(f"{where}: requests/s", statistics.median(ours_rps))
                add(f"{where}: p99 ms", statistics.median(ours_ms))
                there = [other for other in others if results.rps(net, form, level, other)]
                faster = {other: _ratio(ours_rps, results.rps(net, form, level, other)) for other in there}
                slower = {other: _ratio(ours_ms, results.p99_ms(net, form, level, other)) for other in there}
                if net != "tiny" and there:
                    add(f"{where}: requests/s / best peer's", min(faster.values()), at_least=1.0)
                    add(f"{where}: p99 / best peer's", max(slower.values()), at_most=1.0)
                if net == "tiny" and FASTEST in there:
                    goal = 1.0 if level > 1 else None
                    add(f"{where}: requests/s / {FASTEST}'s", faster[FASTEST], at_least=goal)
                    add(f"{where}: p99 / {FASTEST}'s", slower[FASTEST])
            if FASTAPI in others:
                ratio = _ratio(results.rps(net, form, 1, OURS), results.rps(net, form, 1, FASTAPI))
                add(f"{net}, {form}, 1: requests/s / {FASTAPI}'s", ratio, at_least=AHEAD_OF_FASTAPI)
            ratio = _ratio(results.rps(net, form, 32, OURS), results.limits[net, form])
            goal = OF_LIMIT[form] if net != "tiny" else None
            add(f"{net}, {form}, limit: images/s", statistics.median(results.limits[net, form]))
            add(f"{net}, {form}, 32: requests/s / limit", ratio, at_least=goal)
            at_8 = results.rps(net, form, 8, OURS)
            falls = [_ratio(results.rps(net, form, level, OURS), at_8) for level in LEVELS if level > 8]
            add(f"{net}, {form}: lowest requests/s above 8 / at 8", min(falls), at_least=MOST_FALL)
    failed = sum(load.failed for (*_, server), loads in results.loads.items() if server == OURS for load in loads)
    add("failed requests of ours", failed, at_most=0)
    add("peers that could not be measured", len(results.unusable), at_most=0)
    return figures, goals


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the rounds' ratios, of as many rounds as both have had."""
    rounds = min(len(over), len(under))
    return median_ratio(over[:rounds], [max(value, 1e-9) for value in under[:rounds]])
