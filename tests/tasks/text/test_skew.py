"""Ten thousand odd strings get the same answer on every way, or are refused on every way."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models_store.errors import EspalierError
from models_store.settings import Settings
from models_store.tasks.rooms import contract_of
from models_store.tasks.text import intake
from models_store.tasks.text.codec import TextCodec
from tests import samples
from tests.service.live_service import running
from tests.tasks.text import skew
from tests.tasks.text.odd_strings import COUNT, HALF, is_text, odd_strings
from tests.tasks.text.skew import CLASSES, Skew
from workers.export.sessions import answer, open_session
from workers.training.feeds import probabilities

NEAR = 1e-5
FEW = 2_000
BATCH = 200
TOKENIZERS: dict[str, dict[str, Any]] = {
    "characters": {"min_count": 1},
    "words": {"min_count": 1},
    "rjieba": {"min_count": 1, "mode": "search"},
    "bpe": {"vocabulary": 400},
    "unigram": {"vocabulary": 400},
}


@pytest.fixture(scope="module")
def in_graph(tmp_path_factory: pytest.TempPathFactory) -> Skew:
    return skew.make(tmp_path_factory.mktemp("skew"), kind="characters", count=COUNT, **TOKENIZERS["characters"])


def codec_of(made: Skew) -> TextCodec:
    codec = contract_of(made.spec.task).codec(made.card, files={"tokenizer.json": made.tokenizer}, settings=Settings())
    assert isinstance(codec, TextCodec)
    return codec


def trained(made: Skew) -> Any:
    rows = np.arange(len(made.texts))
    return probabilities(
        made.net, made.examples, rows, activation="softmax", temperature=1.0, device=torch.device("cpu")
    )


def served(made: Skew) -> Any:
    """Return what a service answers: in batches of one padded length, in the order of the texts."""
    codec, session = codec_of(made), open_session(made.path, device="cpu", threads=1)
    decoded = [codec.decode(text) for text in made.texts]
    buckets = np.searchsorted(codec.lengths, [codec.length(each) for each in decoded])
    outputs_NK = np.zeros((len(decoded), len(CLASSES)), np.float32)
    for bucket in np.unique(buckets):
        rows = np.flatnonzero(buckets == bucket)
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            outputs_NK[part] = answer(session, codec.collate([decoded[row] for row in part]))
    return outputs_NK


def test_training_the_service_and_the_file_alone_answer_the_same(in_graph: Skew) -> None:
    session = open_session(in_graph.path, device="cpu", threads=1)

    by_file = np.concatenate(
        [answer(session, {"code_points": skew.given_by_a_client(each)}) for each in in_graph.texts]
    )

    assert len(in_graph.texts) > 0.85 * COUNT
    assert np.ptp(by_file[:, 0]) > 0.1, "answers that are all alike prove nothing"
    assert np.abs(by_file - trained(in_graph)).max() < NEAR
    assert np.abs(by_file - served(in_graph)).max() < NEAR


@pytest.mark.parametrize("kind", [kind for kind in TOKENIZERS if kind != "characters"])
def test_training_and_the_service_answer_the_same_with_a_tokenizer_outside_the_file(kind: str, tmp_path: Path) -> None:
    made = skew.make(tmp_path / "made", kind=kind, count=FEW, **TOKENIZERS[kind])

    by_training, by_service = trained(made), served(made)

    assert np.ptp(by_training[:, 0]) > 0.1
    assert np.abs(by_training - by_service).max() < NEAR


def test_what_is_no_text_is_refused_in_training_and_by_the_service(in_graph: Skew) -> None:
    codec = codec_of(in_graph)

    for string in odd_strings():
        if is_text(string):
            continue
        with pytest.raises(EspalierError):
            codec.decode(string)
        if not HALF.search(string):  # others can't be stored in UTF-8
            assert isinstance(intake.inspect(string.encode()), str)


@pytest.fixture
def service(in_graph: Skew, tmp_path: Path) -> Iterator[Any]:
    with running(samples.quick_settings(tmp_path / "home")) as live:
        net, tokenizer = (Path(shutil.copy(each, tmp_path)) for each in (in_graph.path, in_graph.tokenizer))
        live.publish("odd", net, auxiliary={"tokenizer.json": tokenizer}, **in_graph.card)
        yield live


def test_the_service_answers_over_http_as_the_file_does(service: Any, in_graph: Skew) -> None:
    session = open_session(in_graph.path, device="cpu", threads=1)
    strings = [each for each in odd_strings() if not HALF.search(each)]
    texts = [each for each in strings if is_text(each)]

    for start in range(0, len(texts), BATCH):
        part = texts[start : start + BATCH]
        answers = service.http.post("/predict", json={"model": "odd", "inputs": part, "top_k": 2}).json()["predictions"]
        for text, found in zip(part, answers, strict=True):
            by_label = {each["label"]: each["probability"] for each in found["top"]}
            (expected,) = answer(session, {"code_points": skew.given_by_a_client(text)})
            assert [by_label[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=NEAR), ascii(text[:200])
    refused = [each for each in strings if not is_text(each)]
    for string in [*refused[:20], *refused[-2:]]:
        found = service.http.post("/predict", json={"model": "odd", "inputs": [string]})
        assert found.status_code == (413 if len(string) > 1000 else 422), ascii(string[:200])
