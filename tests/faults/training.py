"""The training that the tests of this folder disturb."""

from tests.samples import PLAIN

SPEC = PLAIN | {
    "augmentation": [{"kind": "random_rotation"}, {"kind": "color_jitter"}],
    "regularizers": [{"kind": "dropout", "probability": 0.3}],
    "training": {"epochs": 15, "batch_size": 16, "precision": "fp32"},
    "compression": None,
}
