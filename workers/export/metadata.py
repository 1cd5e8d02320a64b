"""Metadata of an ONNX file, as JSON: its labels, its origin, and its figures.

    espalier.labels    the names of the outputs, in their order
    espalier.card      task, input, digests of spec and dataset, temperature, and which variant this is
    espalier.metrics   what was measured on this very file, once it was
    espalier.…         what else its task says of it, such as the tokenizer that clients need

onnxruntime gives them as `session.get_modelmeta().custom_metadata_map`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx

PREFIX = "espalier."
LABELS_KEY = "espalier.labels"
CARD_KEY = "espalier.card"
METRICS_KEY = "espalier.metrics"
NOTHING: Mapping[str, Any] = MappingProxyType({})


def read(model: onnx.ModelProto) -> dict[str, Any]:
    """Return what the model says of itself: key → value."""
    return {entry.key: json.loads(entry.value) for entry in model.metadata_props if entry.key.startswith(PREFIX)}


def write(model: onnx.ModelProto, values: Mapping[str, Any]) -> None:
    """Let the model say these values of itself, and nothing else."""
    texts = {key: json.dumps(value, ensure_ascii=False, sort_keys=True) for key, value in values.items()}
    onnx.helper.set_model_props(model, texts)


def stamp(path: Path, *, variant: str, metrics: Mapping[str, Any], learned: Mapping[str, Any] = NOTHING) -> None:
    """Write into the file at `path` which variant it is and what was measured on it; nothing but its metadata changes.

    `learned` is what its task says of it besides, by key without `espalier.`.

    Its size changes with it: take the size, and the digest, after this.
    """
    model = onnx.load_model(path, load_external_data=False)
    said = read(model)
    said |= {CARD_KEY: said.get(CARD_KEY, {}) | {"form": variant}, METRICS_KEY: dict(metrics)}
    write(model, said | {f"{PREFIX}{name}": value for name, value in learned.items()})
    onnx.save_model(model, path)
