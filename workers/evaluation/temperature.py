"""The temperature of a trained net, fitted to its answers on the validation split; `calibration` has the fit."""

import torch

from models_store.spec.train import ResolvedSpec
from models_store.tasks.rooms import target_of
from workers.evaluation.calibration import Temperature, fit_temperature
from workers.training.examples import Examples
from workers.training.feeds import probabilities
from workers.training.learner import Learner

# N examples, K class or label


def temperature_of(
    learner: Learner, examples: Examples, *, spec: ResolvedSpec, device: torch.device
) -> Temperature | None:
    """Return what to divide the net's logits by; None where the spec wants none, or numbers are learned."""
    activation = target_of(spec.task).activation
    if not spec.evaluation.temperature_scaling or activation == "identity":
        return None
    rows = examples.split("val")
    logits_NK = probabilities(learner, examples, rows, device=device, activation="identity")
    return fit_temperature(logits_NK, examples.targets[rows], activation=activation)
