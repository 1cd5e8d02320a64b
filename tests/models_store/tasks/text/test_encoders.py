import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from models_store.models import weights
from models_store.models.weights_forms import WeightsArchiveInvalid
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.tasks.text.backbones.encoder import Architecture
from models_store.tasks.text.encoders import EncoderInvalid, architecture_of
from tests.tasks.text.encoder_archives import CONFIG, DISTILBERT, a_tokenizer, files_of, tensors_of, zipped

Files = dict[str, bytes]


@pytest.fixture
def add(database: Database, blobs: Blobs, tmp_path: Path) -> Callable[[Files], dict[str, Any]]:
    def added(files: Files) -> dict[str, Any]:
        path = tmp_path / "upload"
        path.write_bytes(zipped(files))
        file, _ = weights.add(path, owner="a", name="tiny", database=database, blobs=blobs, most_bytes=1 << 24)
        return file.card

    return added


def test_the_card_says_what_an_encoder_is(add: Callable[[Files], dict[str, Any]]) -> None:
    card = add(files_of())

    assert card["encoder"]["pooling"] == "first"
    assert (
        card["encoder"]["architecture"]
        == Architecture(vocabulary=24, positions=40, width=16, layers=2, heads=2, ffn=32).model_dump()
    )


def test_weights_of_a_task_are_an_encoders_whatever_their_prefix(add: Callable[[Files], dict[str, Any]]) -> None:
    files = files_of(prefix="bert.", more={"classifier.weight": np.zeros((2, 16), np.float32)})

    assert add(files)["encoder"]["architecture"]["layers"] == 2


def test_a_file_that_is_no_encoder_has_no_such_card(add: Callable[[Files], dict[str, Any]]) -> None:
    assert "encoder" not in add({"model.safetensors": save({"a": np.zeros(2, np.float32)})})


def without(name: str) -> Files:
    return {each: content for each, content in files_of().items() if each != name}


def with_tokenizer(change: Callable[[dict[str, Any]], Any]) -> Files:
    definition = json.loads(a_tokenizer())
    change(definition)
    return files_of() | {"tokenizer.json": json.dumps(definition).encode()}


def with_tensors(change: Callable[[dict[str, Any]], Any]) -> Files:
    tensors = tensors_of(CONFIG)
    change(tensors)
    return files_of() | {"model.safetensors": save(tensors)}


QUERY = "encoder.layer.1.attention.self.query.weight"
SLOW = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Removed", "invert": False}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (without("tokenizer.json"), "holds config.json and no tokenizer.json"),
        (without("config.json"), "holds tokenizer.json and no config.json"),
        (files_of() | {"config.json": b"[]"}, "config.json is JSON, and no object"),
        (files_of() | {"config.json": json.dumps(CONFIG | {"model_type": "gpt2"}).encode()}, "`model_type` 'gpt2'"),
        (files_of() | {"tokenizer.json": b"{}"}, "tokenizer.json: the package tokenizers can't read it"),
        (files_of() | {"tokenizer.json": a_tokenizer([str(n) for n in range(30)])}, "has 35 tokens, and config.json"),
        (with_tokenizer(lambda made: made.update(pre_tokenizer=SLOW)), "the regular expression"),
        (with_tensors(lambda tensors: tensors.pop(QUERY)), f"lacks '{QUERY}'"),
        (with_tensors(lambda tensors: tensors.update({QUERY: np.zeros((8, 16), np.float32)})), r"as \(8, 16\), and"),
        (with_tensors(lambda tensors: tensors.update({QUERY: np.zeros((16, 16), np.int32)})), "as I32, and weights"),
        (files_of() | {"1_Pooling/config.json": b'{"pooling_mode_lasttoken": true}'}, "asks for pooling_mode_last"),
    ],
)
def test_an_archive_that_is_no_usable_encoder_is_refused_when_it_comes(
    files: Files, said: str, add: Callable[[Files], dict[str, Any]]
) -> None:
    with pytest.raises(EncoderInvalid, match=said):
        add(files)


def test_a_pickle_is_refused_by_its_name(add: Callable[[Files], dict[str, Any]]) -> None:
    with pytest.raises(WeightsArchiveInvalid, match=r"pytorch_model\.bin is a pickle"):
        add(files_of() | {"pytorch_model.bin": b"\x80\x04."})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": 17}, "don't divide the width"),
        ({"hidden_size": 10**9}, "`hidden_size` 1000000000"),
        ({"num_hidden_layers": "two"}, "`num_hidden_layers` two"),
        ({"hidden_act": "swish"}, "the activation 'swish'"),
        ({"position_embedding_type": "relative_key"}, "absolute"),
        ({"is_decoder": True}, "a decoder"),
    ],
)
def test_a_config_of_another_net_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(EncoderInvalid, match=said):
        architecture_of(CONFIG | change)


def test_sizes_are_found_under_the_names_of_each_model_type() -> None:
    assert architecture_of(DISTILBERT) == architecture_of(CONFIG).model_copy(update={"model_type": "distilbert"})
    assert architecture_of(CONFIG | {"model_type": "roberta", "pad_token_id": 1}).positions == 38
