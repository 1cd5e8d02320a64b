"""Contract of images: a class, labels or a number of each."""

from collections.abc import Mapping

from models_store.spec.train import ResolvedSpec, TrainSpec
from models_store.targets import Name
from models_store.tasks.task import Contract


class ImageContract(Contract):
    """Images on the shared ground."""

    targets: Mapping[str, Name] = {
        "image_classification": "class",
        "multilabel_classification": "labels",
        "image_regression": "number",
    }
    Spec = TrainSpec
    ResolvedSpec = ResolvedSpec


IMAGE = ImageContract()
