"""One step: the gradient of the objective over a batch, and the move of the weights."""

# B batch, F feature, K class or label

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models_store.spec.train import ResolvedSpec
from workers.training import checkpoint, losses, optimizers, regularizers, sampling, transfer
from workers.training.averaging import Average, Averaging
from workers.training.checkpoint import State
from workers.training.distillation import Distiller
from workers.training.examples import Rows
from workers.training.feeds import Feed
from workers.training.learner import Learner
from workers.training.precision import Precision
from workers.training.regularizers import AnswerPenalty, Limit, Penalty, Shrinkage
from workers.training.sharpness import Sharpness
from workers.training.targets import Targets


class Stepper:
    """Moves a net's weights by one batch at a time.

    It has what that takes: the optimizer, the loss and what is added to it, a teacher's answers, averages of the
    weights; and their state. `part_size` is the most examples that go through the net at once.
    """

    def __init__(
        self,
        learner: Learner,
        feed: Feed,
        *,
        spec: ResolvedSpec,
        targets: Targets,
        loss: nn.Module,
        precision: Precision,
        device: torch.device,
        part_size: int | None,
        distiller: Distiller | None,
    ) -> None:
        self.learner, self.feed, self.net = learner, feed, feed.net
        self.training, self.targets, self.precision, self.device = spec.training, targets, precision, device
        self.part_size = part_size
        self.distiller = distiller
        self.loss = targets.loss_in_scale(loss)
        self.bare_loss = loss

        groups = optimizers.groups(
            self.net,
            weight_decay=spec.optimizer.weight_decay,
            decay_norms=spec.optimizer.decay_norms,
            scale_of=transfer.scale_of(spec.transfer, learner),
        )
        if distiller is not None:
            groups += optimizers.groups(distiller, weight_decay=spec.optimizer.weight_decay)
        self.optimizer = optimizers.build(spec.optimizer, groups)
        self.weights: list[nn.Parameter] = [weight for group in groups for weight in group["params"]]
        self.scaler = precision.scaler()
        self.generator = torch.Generator(device)

        parts = spec.regularizers
        self.penalties = [penalty.of(self.net) for penalty in regularizers.effects(parts, Penalty)]
        self.answer_penalties = regularizers.effects(parts, AnswerPenalty)
        self.shrinkage = regularizers.effects(parts, Shrinkage)
        self.limits = regularizers.effects(parts, Limit)
        self.sharpness = regularizers.effect(parts, Sharpness)
        averaging = regularizers.effect(parts, Averaging)
        self.average = None if averaging is None else Average(self.net, averaging)

    def take(self, rows: Rows, *, rate: float, seed: int) -> Tensor:
        """Take a step on ascending rows; return float64 sums over them: objective, what is right, examples."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        if self.sharpness is None:
            sums = self._find_gradients(rows, seed=seed)
        else:
            noise = checkpoint.random_state()
            sums = self._find_gradients(rows, seed=seed)
            with self.sharpness.uphill(self.weights, self.net):
                checkpoint.restore_random_state(noise)
                self._find_gradients(rows, seed=seed)
        self._move()
        if self.average is not None and self.average.averaging.each == "step":
            self.average.add(self.net)
        return sums

    @property
    def shown(self) -> nn.Module:
        """The net that is validated and kept: the average, once there is one."""
        return self.net if self.average is None or self.average.count == 0 else self.average.net

    def state(self) -> State:
        """Return what `load` takes."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state(),
            "distiller": None if self.distiller is None else self.distiller.state_dict(),
        }

    def load(self, state: State) -> None:
        """Go on from a state."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load(state["average"])
        if self.distiller is not None:
            self.distiller.load_state_dict(state["distiller"])

    def _find_gradients(self, rows: Rows, *, seed: int) -> Tensor:
        """Add up the gradients of a batch's parts, so that they are those of its mean; return the sums."""
        self.generator.manual_seed(seed)
        parts = sampling.parts(rows, count=self._part_count(rows))
        shares = self._shares(parts)
        sums: Tensor | None = None
        for part, (share, loss_share) in zip(parts, shares, strict=True):
            objective, right = self._objective(part, loss_factor=loss_share / share)
            whole = objective if len(parts) == 1 else objective * share
            self.scaler.scale(whole).backward()  # type: ignore[no-untyped-call]  # torch's own
            with torch.no_grad():
                found = torch.stack(
                    [objective.double() * len(part), right.double(), torch.full_like(right, len(part)).double()]
                )
                sums = found if sums is None else sums + found
        assert sums is not None, "a batch is never empty"
        return sums

    def _objective(self, rows: Rows, *, loss_factor: float) -> tuple[Tensor, Tensor]:
        """Return what is minimised, and how much of the answers is right."""
        inputs = self.feed.batch(rows, self.generator)
        targets = self.targets.of(rows).to(self.device, non_blocking=True)
        if self.learner.mixes:
            inputs, targets = self.learner.mix(inputs, self.targets.as_soft(targets), generator=self.generator)
        parts, features_BF = self._answers(inputs)
        logits_BK = torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]
        loss: Tensor = sum(self.loss(part_BK, targets) for part_BK in parts) / len(parts)
        if loss_factor != 1:
            loss = loss * loss_factor
        if self.distiller is not None:
            loss = self.distiller(loss, logits_BK, features_BF, rows=rows, inputs=inputs)
        for of_answers in self.answer_penalties:
            loss = loss + of_answers.of(logits_BK, self.targets.target.activation)
        for penalty in self.penalties:
            loss = loss + penalty()
        with torch.no_grad():
            return loss, self.targets.correct(logits_BK, targets)

    def _answers(self, inputs: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Return logits in float32, of each part that has a loss; and the features when a teacher's are learned."""
        with self.precision.autocast():
            if self.distiller is None or self.distiller.projection is None:
                parts = self.net.apart(inputs) if isinstance(self.net, Learner) else [self.net(inputs)]
                return [part_BK.float() for part_BK in parts], None
            features_BF = self.learner.features(inputs)
            return [self.learner.head(features_BF).float()], features_BF

    def _move(self) -> None:
        """Limit the gradients, take the optimizer's step, and hold the weights."""
        training = self.training
        if training.clip_grad_norm is not None or training.clip_grad_value is not None:
            self.scaler.unscale_(self.optimizer)  # limits are of the gradients themselves
            if training.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(self.weights, training.clip_grad_norm)
            if training.clip_grad_value is not None:
                nn.utils.clip_grad_value_(self.weights, training.clip_grad_value)
        for shrinkage in self.shrinkage:
            for group in self.optimizer.param_groups:
                shrinkage.apply(group["params"], rate=group["lr"])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        for limit in self.limits:
            limit.apply(self.weights)
        self.optimizer.zero_grad(set_to_none=True)

    def _part_count(self, rows: Rows) -> int:
        fitting = 1 if self.part_size is None else math.ceil(len(rows) / self.part_size)
        return max(self.training.accumulate_steps, fitting)

    def _shares(self, parts: Sequence[Rows]) -> list[tuple[float, float]]:
        """Return each part's share of the examples, and of what the loss is divided by, where class weights count."""
        if len(parts) == 1:
            return [(1.0, 1.0)]
        sizes = [len(part) for part in parts]
        divisors = [losses.divisor(self.bare_loss, self.targets.of(part)) for part in parts]
        return [(size / sum(sizes), divisor / sum(divisors)) for size, divisor in zip(sizes, divisors, strict=True)]
