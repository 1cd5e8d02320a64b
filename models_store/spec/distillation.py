"""Distillation: a teacher whose answers are learned beside the labels."""

from pydantic import Field

from models_store.spec.part import Part
from models_store.spec.reference import ModelReference


class Distillation(Part):
    """Learn from a trained model's answers (Hinton et al. 2015, arXiv:1503.02531), and its features (Romero et al. 2014, arXiv:1412.6550)."""

    teacher: ModelReference = Field(
        description="a model of yours, trained on the same classes: `name`, `name@alias` or `name:version`"
    )
    temperature: float = Field(
        4.0, ge=1, le=100, description="number by which both nets' logits are divided before they are compared"
    )
    weight: float = Field(
        0.7,
        ge=0,
        le=1,
        description="share of the teacher's soft targets in the loss; the rest is the loss on the labels",
    )
    features_weight: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="factor of the mean squared distance of the (linearly projected) features to the teacher's; 0: none",
    )
