"""Text nets without a dataset, and their files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from models_store.tasks.text.contract import TEXT as CONTRACT
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.spec import ResolvedTextSpec, TextSpec, of_texts
from workers.export import graph
from workers.tasks.text import noise
from workers.tasks.text.task import TEXT
from workers.training.learner import Learner

FIRST = 0x4E00
"""the first of the characters that the nets know"""


def a_text_spec(**given: Any) -> ResolvedTextSpec:
    counts = {"good": 40, "bad": 40}
    asked = {
        "name": "reviews",
        "dataset": "ds_00000000",
        "input": {"tokenizer": {"kind": "characters", "min_count": 1}, "max_tokens": 64},
        "backbone": {"kind": "text_cnn", "embedding": 16, "kernels": [2, 3], "filters": 8},
    } | given
    resolved, _ = CONTRACT.resolve(TextSpec.model_validate(asked), TextFacts(80, counts))
    return of_texts(resolved)


def a_text_net(spec: ResolvedTextSpec, *, weights_dir: Path = Path("unused")) -> Learner:
    examples = noise.noise(spec, classes=["good", "bad"], count=4)
    return TEXT.build(spec, class_count=2, weights_dir=weights_dir, examples=examples)


def with_large_weights(net: Learner, *, seed: int = 0) -> Learner:
    """Make the answers depend on every token: a fresh net's hardly do."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if weight.ndim > 1 and "weight_hh" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * (4 / weight[0].numel()) ** 0.5)
        embedding = net.get_parameter("backbone.embedded.embedding.weight")
        embedding[0] = 0
    return net


def exported(net: Learner, spec: ResolvedTextSpec, path: Path) -> Path:
    card = {"task": spec.task, **TEXT.described(spec)}
    graph.export(TEXT.served(net, spec), opset=spec.export.opset, labels=["good", "bad"], card=card, path=path)
    return path


def some_texts(lengths: list[int], *, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return texts of known characters, padded to the longest."""
    random = np.random.default_rng(seed)
    padded_NL = np.zeros((len(lengths), max(1, *lengths)), np.int32)
    for row, length in enumerate(lengths):
        padded_NL[row, :length] = FIRST + random.integers(0, 60, length)
    return padded_NL


def vectors_of(
    folder: Path, rows_WD: np.ndarray[Any, Any], words: bytes, *, name: str = "vocabulary", file: str = "vectors"
) -> Path:
    """Write a file of vectors and their words."""
    path = folder / f"{file}.safetensors"
    save_file({"vectors": rows_WD, name: np.frombuffer(words, np.uint8)}, path)
    return path
