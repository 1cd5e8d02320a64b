"""Requirements of a spec of images on the model that it builds on: the backbone's structure, its channels."""

from typing import TYPE_CHECKING

from models_store.spec.recipe import Document, Misfit
from models_store.wording import counted

if TYPE_CHECKING:
    from models_store.tasks.image.spec import ResolvedImageSpec


def misfit(spec: "ResolvedImageSpec", source: Document, *, reference: str) -> Misfit | None:
    """Return where a dense layer of other weights fits one size alone; else the input's channels and size may differ."""
    part, size, given_size = spec.backbone, spec.input.size, source["input"]["size"]
    if part.kind != "small_cnn" or part.dense_size is None or size is None:
        return None
    if part.dense_side(size) == part.dense_side(given_size):
        return None
    detail = f"{reference} has a dense layer for {given_size} pixels, which does not fit {size}"
    return Misfit("/input/size", detail, allowed=[given_size])


def teacher_misfit(spec: "ResolvedImageSpec", source: Document, *, reference: str) -> Misfit | None:
    """Return where a teacher sees other channels."""
    channels = source["input"]["channels"]
    if channels == spec.input.channels:
        return None
    detail = f"{reference} takes {counted(channels, 'channel')}; a student must take the same channels as its teacher"
    return Misfit("/input/channels", detail, allowed=[channels])
