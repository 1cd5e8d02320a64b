"""Removal of channels as a part of the pruning stage: how much is found, cut in rounds, and each round recovers.

A later attempt takes up what is in the checkpoints: the measurements of a search, and the net of the round under way.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from models_store.spec.pruning import StructuredPruning
from workers.compression import speed_search, widths
from workers.compression.prune import (
    Cut,
    PruningImpossible,
    at_ratio,
    compare,
    explaining_errors,
    leaving,
    nothing_leaves,
    remove,
    restructure,
    study,
)
from workers.compression.speed_search import TOLERANCE, Probe
from workers.compression.widths import Studied, Widths
from workers.export.benchmark import BenchmarkFailed, speedups
from workers.export.graph import export
from workers.process.progress import Drained, Reporter, Stretch
from workers.stages.recover import RecoveryTrainer, Validated, shares, state_of
from workers.stages.variant import ChannelPruning, Recovery, SpeedSearch
from workers.training import targets
from workers.training.feeds import RawFeed, batches
from workers.training.learner import Learner

SEARCH_SHARE = 0.3  # of the progress, where a speedup is looked for
GRADIENT_IMAGES = 256
GRADIENT_BATCH = 32
MEASUREMENTS = 3


def cut_channels(
    part: StructuredPruning, trainer: RecoveryTrainer, reporter: Reporter
) -> tuple[Learner, Validated, ChannelPruning, Recovery]:
    """Return the net cut and recovered as `part` says, how it validates, and the facts of both.

    Raises:
        PruningImpossible: if nothing can be removed as asked, or no cut comes near the speedup asked for.
        Drained: if a stop was asked for; what is done is in the checkpoints.
    """
    return _ChannelRounds(part, trainer, reporter).perform()


class _ChannelRounds:
    """One net's cut, in as many rounds as the part has steps, fresh or taken up from a checkpoint."""

    def __init__(self, part: StructuredPruning, trainer: RecoveryTrainer, reporter: Reporter) -> None:
        self.part, self.trainer, self.reporter = part, trainer, reporter
        self.work, self.parent = trainer.work, trainer.parent
        self.example = self.work.task.trace_input(self.work.spec)
        self.state: dict[str, Any] = self.work.checkpoints.load("pruning") or {}
        self.done = 0.0  # of the progress

    def perform(self) -> tuple[Learner, Validated, ChannelPruning, Recovery]:
        if "goal" not in self.state:
            self._set_goal()
        steps = self.part.steps
        begin = SEARCH_SHARE if self.part.target_speedup is not None else 0.0
        each = (1 - begin) / steps
        net, first = self.parent, self.state.get("first_accuracy")
        for number, epochs in enumerate(shares(self.trainer.epochs, steps), 1):
            if number < self.state.get("round", 0):
                continue
            self.done = begin + each * (number - 1)
            net = self._cut(net, number)
            stage = f"recovery_{number}"
            stretch = Stretch(
                self.reporter, start=begin + each * (number - 1), end=begin + each * number, prefix="recovery_"
            )
            recovered = self.trainer.recover(net, epochs=epochs, stage=stage, reporter=stretch)
            first = self.state.setdefault("first_accuracy", recovered.before.accuracy)
            net = recovered.net
            if number < steps:
                self.work.checkpoints.forget(stage)
        assert first is not None, "a part has one step at least"
        self.done = 1.0
        with self._alive():
            effect = compare(self.parent, net, example=self.example)
        searched = self.state["facts"]
        pruning = ChannelPruning(
            effect, steps, self._removed_share(), search=SpeedSearch(**searched) if searched else None
        )
        recovery = Recovery(self.trainer.epochs, first, recovered.after.accuracy)
        return net, recovered.after, pruning, recovery

    # ---- how much is cut

    def _set_goal(self) -> None:
        """Decide how wide each layer will be at the end, and keep that for a later attempt."""
        found = self._study(self.parent)
        whole = {each.name: each.width for each in found}
        rungs = widths.ladder(found, self.part, whole=whole)
        if not rungs:
            raise nothing_leaves(found, self.part)
        facts: dict[str, Any] = {}
        if self.part.target_speedup is not None:
            count, facts = self._search(found, rungs, self.part.target_speedup)
        else:
            assert self.part.ratio is not None, "one of both is given"
            count = widths.count_at(rungs, found, self.part, self.part.ratio, whole=whole)
        if count == 0:
            raise nothing_leaves(found, self.part)
        channels = {each.name: each.channels for each in found}
        self._save(goal=widths.after(rungs[:count], found), whole=whole, channels=channels, cuts=[], facts=facts)

    def _search(self, found: list[Studied], rungs: list[widths.Rung], target: float) -> tuple[int, dict[str, Any]]:
        """Return how many rungs to take for the speedup, and what the card says of the search."""
        whole = {each.name: each.width for each in found}
        known: dict[int, float] = dict(self.state.get("probes", {}))
        macs: dict[int, int] = {}

        def share(count: int) -> float:
            return widths.removed_share(rungs[:count], found, whole=whole)

        def cut(count: int) -> Learner:
            return self._remove(self.parent, leaving(found, widths.after(rungs[:count], found)))

        def work(count: int) -> float:
            for needed in (0, count):
                if needed not in macs:
                    self._heed_stops()
                    macs[needed] = self._macs(cut(needed))
            return macs[0] / max(macs[count], 1)

        with tempfile.TemporaryDirectory(dir=self.work.staging) as folder:
            uncut, candidate = Path(folder) / "uncut.onnx", Path(folder) / "cut.onnx"

            def measure(count: int) -> float:
                self._heed_stops()
                if not uncut.exists():
                    self._export(self.parent, uncut)
                self._export(cut(count), candidate)
                speedup = self._speedup(uncut, candidate)
                known[count] = speedup
                self._save(probes=dict(known))
                self.reporter.log(f"without {share(count):.1%} of its channels the net is {speedup:.2f} times as fast")
                return speedup

            probes = speed_search.search(len(rungs), target=target, work=work, measure=measure, known=known)
        best = speed_search.best(probes, target=target)
        reported = [{"ratio": share(probe.count), "speedup": probe.speedup} for probe in probes]
        if best.misses(target) > TOLERANCE:
            raise self._unreached(target, probes, share, is_all=lambda probe: probe.count == len(rungs))
        return best.count, {"target_speedup": target, "speedup": best.speedup, "probes": reported}

    def _unreached(
        self, target: float, probes: list[Probe], share: Callable[[int], float], *, is_all: Callable[[Probe], bool]
    ) -> PruningImpossible:
        fastest = max(probes, key=lambda probe: probe.speedup)
        if fastest.speedup < target:
            limit = "all that can leave" if is_all(fastest) else "what was tried"
            within_reach = math.floor(95 * fastest.speedup) / 100
            advice = f"ask for at most {within_reach:g}, " if within_reach > 1 else ""
            return PruningImpossible(
                f"`target_speedup` {target:g} is out of reach: without {share(fastest.count):.1%} of its channels, "
                f"{limit} at `round_to` {self.part.round_to}, the net is {fastest.speedup:.2f} times as fast, which "
                f"is the maximum; {advice}lower `round_to`, or choose another backbone"
            )
        below = max(
            (probe for probe in [Probe(0, 1.0), *probes] if probe.speedup < target), key=lambda probe: probe.speedup
        )
        above = min((probe for probe in probes if probe.speedup >= target), key=lambda probe: probe.speedup)
        reached = " and ".join(
            f"{probe.speedup:.2f} (without {share(probe.count):.1%} of its channels)" for probe in (below, above)
        )
        return PruningImpossible(
            f"`target_speedup` {target:g} can't be met within {TOLERANCE:.0%}: at `round_to` {self.part.round_to} the "
            f"nearest speedups are {reached}; ask for one of them, or lower `round_to`"
        )

    def _speedup(self, uncut: Path, candidate: Path) -> float:
        """Return the median of measurements in processes of their own: one may fall into a neighbour's busy moment."""
        spec, measured = self.work.spec, []
        for _ in range(MEASUREMENTS):
            try:
                found = speedups(
                    {"uncut": uncut, "cut": candidate},
                    baseline="uncut",
                    sample=self.work.task.noise(spec, classes=self.work.dataset.classes, count=1).inputs,
                    budget_s=self.work.settings.measure_s / 2,
                    report=self._heed_stops,
                )
            except BenchmarkFailed as error:
                raise PruningImpossible(
                    f"the ratio for a speedup can't be searched: the pruned net could not be measured ({error}); give "
                    "`ratio` instead"
                ) from error
            measured.append(found["cut"])
        return median(measured)

    def _export(self, net: Learner, path: Path) -> None:
        spec = self.work.spec
        with explaining_errors():
            export(
                self.work.task.served(net, spec),
                opset=spec.export.opset,
                labels=self.work.dataset.classes,
                card={},
                path=path,
            )

    # ---- the cuts

    def _cut(self, net: Learner, number: int) -> Learner:
        """Return the net of a round as its recovery starts; an earlier attempt's is taken up, not made anew."""
        if self.state.get("round") == number:
            with self._alive():
                net = restructure(self.parent, self.state["cuts"], example=self.example)
            net.load_state_dict(self.state["weights"])
            return net
        found = self._study(net)
        cut = leaving(found, self._chosen(found, share=number / self.part.steps))
        net = self._remove(net, cut)
        self._save(round=number, cuts=[*self.state["cuts"], cut], weights=state_of(net))
        return net

    def _chosen(self, found: list[Studied], *, share: float) -> Widths:
        goal, whole = self.state["goal"], self.state["whole"]
        if self.part.target_speedup is None:
            return at_ratio(self.part, share=share, whole=whole)(found)
        return widths.on_the_way(goal, found, self.part, share, whole=whole)  # the widths decide the speed

    def _removed_share(self) -> float:
        """Return the share of the whole net's channels, of all bundles, that the cuts took."""
        whole, channels = self.state["whole"], self.state["channels"]
        removed = sum(len(units) * channels[name] for cut in self.state["cuts"] for name, units in cut.items())
        return float(removed / sum(width * channels[name] for name, width in whole.items()))

    def _study(self, net: Learner) -> list[Studied]:
        seed = self.work.spec.seed
        with self._alive():
            return study(net, self.part, example=self.example, seed=seed, backward=self._backward)

    def _remove(self, net: Learner, cut: Cut) -> Learner:
        with self._alive():
            return remove(net, cut, example=self.example)

    def _macs(self, net: Learner) -> int:
        with self._alive():
            return compare(net, net, example=self.example).macs_after

    def _backward(self, net: nn.Module) -> None:
        """Leave the gradient of the task's plain loss on some training examples, drawn by the spec's seed."""
        assert isinstance(net, Learner), "a copy is of its original's class"
        arrays, spec = self.trainer.examples, self.work.spec
        aim = targets.build(spec.task, arrays)
        train_rows = arrays.split("train")
        count = min(GRADIENT_IMAGES, len(train_rows))
        rows = np.sort(np.random.default_rng(spec.seed).choice(train_rows, count, replace=False))
        feed = RawFeed(net, arrays, device=torch.device("cpu"))
        for start, end in batches(count, GRADIENT_BATCH):
            inputs = feed.batch(rows[start:end], None)
            loss = aim.validation_loss(net(inputs), aim.of(rows[start:end]))
            (loss * (end - start) / count).backward()  # type: ignore[no-untyped-call]  # torch has no type for it

    # ---- beside the work

    def _save(self, **values: Any) -> None:  # noqa: ANN401  parts of a checkpoint
        self.state |= values
        self.work.checkpoints.save("pruning", self.state)

    def _heed_stops(self) -> None:
        """Tell that the search is alive, and leave it where that is asked for."""
        if self.reporter.stop_requested():
            raise Drained
        self.done = SEARCH_SHARE * len(self.state.get("probes", {})) / speed_search.MOST_PROBES
        self.reporter.progress(self.done)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Tell before and after what takes seconds in a net of many layers: a silent job is taken for a stuck one."""
        self.reporter.progress(self.done)
        yield
        self.reporter.progress(self.done)
