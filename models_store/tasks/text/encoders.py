"""Archive of a pretrained encoder: what its config.json says of its tensors, and whether all of them are there.

The layout is that of the package transformers: names of BERT (of RoBERTa too), or of DistilBERT, below any prefix, so
that weights of a task (`bert.…`, `cls.…`) are as good as those of the bare encoder. Poolers and heads are left out.
Archives of sentence-transformers say in `1_Pooling/config.json` how tokens become a text.
"""

# V token of the vocabulary, P position, E feature of a token, F feature of a hidden layer

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from models_store.errors import Invalid
from models_store.json_rules import no_constant, unique_keys
from models_store.tasks.text.backbones.encoder import Architecture
from models_store.tasks.text.tokenizers import pretrained

CONFIG, TOKENIZER, POOLING = "config.json", "tokenizer.json", "1_Pooling/config.json"
WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
EMBEDDING_NORM = "embeddings.LayerNorm"
OF_BERT: Mapping[str, str] = {
    "query": "encoder.layer.{}.attention.self.query",
    "key": "encoder.layer.{}.attention.self.key",
    "value": "encoder.layer.{}.attention.self.value",
    "out": "encoder.layer.{}.attention.output.dense",
    "attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "hidden": "encoder.layer.{}.intermediate.dense",
    "hidden_out": "encoder.layer.{}.output.dense",
    "hidden_norm": "encoder.layer.{}.output.LayerNorm",
}
OF_DISTILBERT: Mapping[str, str] = {
    "query": "transformer.layer.{}.attention.q_lin",
    "key": "transformer.layer.{}.attention.k_lin",
    "value": "transformer.layer.{}.attention.v_lin",
    "out": "transformer.layer.{}.attention.out_lin",
    "attention_norm": "transformer.layer.{}.sa_layer_norm",
    "hidden": "transformer.layer.{}.ffn.lin1",
    "hidden_out": "transformer.layer.{}.ffn.lin2",
    "hidden_norm": "transformer.layer.{}.output_layer_norm",
}
"""part of a layer → its name, without `.weight` and `.bias`; `{}` is the layer's number"""
MODEL_TYPES: tuple[str, ...] = get_args(Architecture.model_fields["model_type"].annotation)
SHIFTED = {"roberta", "xlm-roberta"}
"""model types whose first position is behind that of the padding"""
SIZES: Mapping[str, Mapping[str, str]] = {
    "bert": {
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
    },
    "distilbert": {
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
        "width": "dim",
        "layers": "n_layers",
        "heads": "n_heads",
        "ffn": "hidden_dim",
    },
}
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
POOLINGS = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
}
FLOATS = {"F32", "F16", "BF16"}
MOST_SHOWN = 3

Header = Mapping[str, Mapping[str, Any]]
"""name of a tensor → `dtype` and `shape`, as a safetensors file has it"""


class EncoderInvalid(Invalid):
    """An archive is meant as a pretrained encoder, and lacks something, or contradicts itself."""

    code = "encoder_invalid"
    title = "The archive is no encoder that can be used"


def describe(header: Header, read: Callable[[str], bytes]) -> dict[str, Any]:
    """Return what the card of a file of weights says of the encoder in it: `encoder`; nothing of other files.

    `read` gives the bytes of a tensor.

    Raises:
        EncoderInvalid: if a file is missing, of another kind of net, or does not go with the tensors.
    """
    files = [name for name in (CONFIG, TOKENIZER) if name in header]
    if not files:
        return {}
    if len(files) == 1:
        (missing,) = {CONFIG, TOKENIZER} - set(files)
        raise EncoderInvalid(
            f"the archive holds {files[0]} and no {missing}; an encoder needs its config.json, tokenizer.json and "
            "model.safetensors, and other weights need neither of the first two"
        )
    config = _json(CONFIG, read(CONFIG))
    architecture = architecture_of(config)
    _check_tensors(header, architecture, config)
    tokens = pretrained.size_of(_tokenizer(read(TOKENIZER)))
    if tokens > architecture.vocabulary:
        raise EncoderInvalid(
            f"{TOKENIZER} has {tokens:,} tokens, and {CONFIG} has `vocab_size` {architecture.vocabulary:,}: they are "
            "not of one encoder"
        )
    pooling = _pooling(_json(POOLING, read(POOLING))) if POOLING in header else None
    return {"encoder": {"architecture": architecture.model_dump(), "pooling": pooling}}


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Return the net that a config.json describes.

    Raises:
        EncoderInvalid: if it is of another kind.
    """
    model_type = str(config.get("model_type"))
    if model_type not in MODEL_TYPES:
        raise EncoderInvalid(f"{CONFIG} has `model_type` {model_type[:50]!r}; encoders are {', '.join(MODEL_TYPES)}")
    _refuse_other_nets(config)
    names = SIZES.get(model_type, SIZES["bert"])
    values = {ours: config.get(theirs) for ours, theirs in names.items()}
    if model_type in SHIFTED and isinstance(values["positions"], int):
        values["positions"] -= first_position(config)
    activation = config.get("activation" if model_type == "distilbert" else "hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise EncoderInvalid(
            f"{CONFIG} has the activation {str(activation)[:50]!r}; known are {', '.join(ACTIVATIONS)}"
        )
    given = {
        "model_type": model_type,
        "activation": ACTIVATIONS[activation],
        "norm_epsilon": float(config.get("layer_norm_eps", 1e-12)),
    }
    try:
        found = Architecture.model_validate(given | values)
    except ValidationError as error:
        fault = error.errors()[0]
        name = names.get(str(fault["loc"][0]), "layer_norm_eps")
        raise EncoderInvalid(f"{CONFIG}: `{name}` {str(fault['input'])[:50]}: {fault['msg']}") from error
    if found.width % found.heads:
        raise EncoderInvalid(f"{CONFIG}: {found.heads} heads don't divide the width {found.width}")
    return found


def _refuse_other_nets(config: Mapping[str, Any]) -> None:
    """Refuse what a config.json of a known type may ask for beside sizes."""
    position = config.get("position_embedding_type", "absolute")
    if position != "absolute" or config.get("is_decoder") or config.get("add_cross_attention"):
        raise EncoderInvalid(
            f"{CONFIG} describes a decoder, or positions of the kind {str(position)[:50]!r}; encoders with absolute "
            "positions are known"
        )


def first_position(config: Mapping[str, Any]) -> int:
    """Return the row of the position embeddings that the first token of a text has."""
    if config["model_type"] not in SHIFTED:
        return 0
    padding = config.get("pad_token_id", 1)
    if type(padding) is not int or not 0 <= padding <= 1000:  # noqa: PLR2004  a number of a special token
        raise EncoderInvalid(f"{CONFIG} has the `pad_token_id` {str(padding)[:50]}; it is a small number")
    return padding + 1


def prefix_of(names: Mapping[str, Any]) -> str:
    """Return what stands before the names of the encoder's tensors.

    Raises:
        EncoderInvalid: if there is none, or more than one.
    """
    found = [name.removesuffix(WORDS) for name in names if name.endswith(WORDS)]
    if len(found) != 1:
        raise EncoderInvalid(f"{len(found)} tensors are called `…{WORDS}`, and an encoder has one")
    return found[0]


def layer_names(model_type: str) -> Mapping[str, str]:
    """Return how the parts of a layer are called."""
    return OF_DISTILBERT if model_type == "distilbert" else OF_BERT


def shapes(architecture: Architecture, *, first: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and the shape of each tensor that an encoder has; `first` is the row of its first position."""
    width, ffn = architecture.width, architecture.ffn
    yield WORDS, (architecture.vocabulary, width)
    yield POSITIONS, (architecture.positions + first, width)
    yield f"{EMBEDDING_NORM}.weight", (width,)
    yield f"{EMBEDDING_NORM}.bias", (width,)
    inputs_of, outputs_of = {"hidden_out": ffn}, {"hidden": ffn}
    for number in range(architecture.layers):
        for part, name in layer_names(architecture.model_type).items():
            outputs = outputs_of.get(part, width)
            is_norm = part.endswith("norm")
            yield f"{name.format(number)}.weight", (outputs,) if is_norm else (outputs, inputs_of.get(part, width))
            yield f"{name.format(number)}.bias", (outputs,)


def _check_tensors(header: Header, architecture: Architecture, config: Mapping[str, Any]) -> None:
    prefix, faults = prefix_of(header), []
    wanted = dict(shapes(architecture, first=first_position(config)))
    if prefix + TYPES in header:
        wanted[TYPES] = (max(1, header[prefix + TYPES]["shape"][0]), architecture.width)
    for name, shape in wanted.items():
        found = header.get(prefix + name)
        if found is None:
            faults.append(f"lacks {prefix + name!r}")
        elif tuple(found["shape"]) != shape:
            faults.append(f"has {prefix + name!r} as {tuple(found['shape'])}, and {CONFIG} says {shape}")
        elif found["dtype"] not in FLOATS:
            faults.append(f"has {prefix + name!r} as {found['dtype']}, and weights are {', '.join(sorted(FLOATS))}")
    if faults:
        others = f" (and {len(faults) - MOST_SHOWN} more)" if len(faults) > MOST_SHOWN else ""
        raise EncoderInvalid(f"the safetensors file {', '.join(faults[:MOST_SHOWN])}{others}")


def _tokenizer(content: bytes) -> pretrained.Encode:
    try:
        return pretrained.encoder_of(content)
    except pretrained.TokenizerInvalid as error:
        raise EncoderInvalid(f"{TOKENIZER}: {error}") from error


def _json(name: str, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content.decode(), object_pairs_hook=unique_keys, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise EncoderInvalid(f"{name} is no JSON that can be read ({str(error)[:200]})") from error
    if not isinstance(document, dict):
        raise EncoderInvalid(f"{name} is JSON, and no object")
    return document


def _pooling(config: Mapping[str, Any]) -> str:
    modes = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise EncoderInvalid(
            f"{POOLING} asks for {', '.join(modes)[:200] or 'no pooling'}; one of {', '.join(POOLINGS)} is known; "
            "leave the file out, and set `backbone.pooling`"
        )
    return POOLINGS[modes[0]]
