"""Archive of a tiny pretrained encoder, made by hand: random weights in the public layout, and a tokenizer."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from models_store.tasks.text import encoders

WORDS = ["good", "bad", "clean", "dirty", "room", "the", "was", "staff", "view", "好", "坏", "##ly", "##s"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 24,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}
DISTILBERT: dict[str, Any] = {
    "model_type": "distilbert",
    "vocab_size": 24,
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 32,
    "max_position_embeddings": 40,
    "activation": "gelu",
}
"""the same sizes under the names of another model type"""
POOLING = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


def a_tokenizer(words: list[str] = WORDS) -> bytes:
    """Return a WordPiece tokenizer that pads and cuts by itself, as published ones do."""
    unknown = SPECIAL[1]
    made = Tokenizer(models.WordPiece({word: n for n, word in enumerate([*SPECIAL, *words])}, unk_token=unknown))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    made.add_special_tokens(SPECIAL)
    made.enable_padding(length=12)
    made.enable_truncation(8)
    return made.to_str().encode()


def tensors_of(config: Mapping[str, Any], *, prefix: str = "", seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return random weights of a size at which every one of them matters."""
    random = np.random.default_rng(seed)
    shapes = dict(encoders.shapes(encoders.architecture_of(config), first=encoders.first_position(config)))
    if config["model_type"] != "distilbert":
        shapes[encoders.TYPES] = (2, config["hidden_size"])
    return {
        prefix + name: random.normal(1.0 if name.endswith("orm.weight") else 0.0, 0.4, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def files_of(
    config: Mapping[str, Any] = CONFIG, *, prefix: str = "", more: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """Return the files of an archive; `more` are tensors beside the encoder's."""
    return {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": save(tensors_of(config, prefix=prefix) | dict(more or {})),
        "tokenizer.json": a_tokenizer(),
        "1_Pooling/config.json": json.dumps(POOLING).encode(),
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return the files as a zip, in a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"encoder/{name}", content)
    return buffer.getvalue()
