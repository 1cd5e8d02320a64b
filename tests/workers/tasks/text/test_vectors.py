import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from models_store.tasks.text.tokenizers.fitting import fit
from models_store.tasks.text.tokenizers.parts import BpeTokenizer, CharacterTokenizer, WordTokenizer
from models_store.tasks.text.tokenizers.tokens import Tokens
from tests.workers.tasks.text.text_nets import a_text_spec, vectors_of
from workers.tasks.text import noise, vectors
from workers.tasks.text.task import TEXT
from workers.training.learner import save
from workers.training.stored_weights import WeightsUnfit

WORDS = ["Good", "good", "ROOM", "bad"]
VECTORS_WD = np.arange(12, dtype=np.float32).reshape(4, 3)


def words(text: str = "good good room room clean clean") -> Tokens:
    return fit(WordTokenizer(), [text])


def started(tokens: Tokens, path: Path, *, width: int = 3) -> tuple[nn.Embedding, str]:
    embedding = nn.Embedding(tokens.size, width, padding_idx=0)
    return embedding, vectors.start(embedding, tokens, path, shown_name="wt_1")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocabulary", "\n".join(WORDS).encode()),
        ("vocab.txt", ("\r\n".join(WORDS) + "\r\n").encode()),
        ("vocab.json", json.dumps(WORDS).encode()),
        ("vocab.json", json.dumps({word: row for row, word in enumerate(WORDS)}).encode()),
    ],
)
def test_words_of_the_texts_start_from_their_vectors_by_their_fold(name: str, content: bytes, tmp_path: Path) -> None:
    path = vectors_of(tmp_path, VECTORS_WD, content, name=name)
    tokens = words()

    embedding, told = started(tokens, path)

    (good, room, clean) = (int(tokens.ids(word)[0]) for word in ("good", "room", "clean"))
    assert embedding.weight[good].tolist() == VECTORS_WD[0].tolist()
    assert embedding.weight[room].tolist() == VECTORS_WD[2].tolist()
    assert embedding.weight[1].tolist() == VECTORS_WD.mean(axis=0).tolist()
    assert not embedding.weight[0].any()
    assert embedding.weight[clean].tolist() not in VECTORS_WD.tolist()
    assert told == "2 tokens of 3 (66.7%) start from the vectors of wt_1"


def test_characters_have_vectors_too(tmp_path: Path) -> None:
    tokens = fit(CharacterTokenizer(min_count=1), ["好坏"])
    path = vectors_of(tmp_path, VECTORS_WD[:2], "好\n坏".encode())

    embedding, _ = started(tokens, path)

    assert embedding.weight[int(tokens.ids("坏")[0])].tolist() == VECTORS_WD[1].tolist()


def test_a_file_that_does_not_fit_is_refused_with_what_to_do(tmp_path: Path) -> None:
    good = vectors_of(tmp_path, VECTORS_WD, "\n".join(WORDS).encode(), file="good")
    few = vectors_of(tmp_path, VECTORS_WD[:3], "\n".join(WORDS).encode(), file="few")
    bare = tmp_path / "bare"
    save_file({"vectors": VECTORS_WD}, bare)

    with pytest.raises(WeightsUnfit, match=r"have 3 numbers, and `backbone\.embedding` is 8; set it to 3"):
        started(words(), good, width=8)
    with pytest.raises(WeightsUnfit, match="none of the 1 token"):
        started(words("other other"), good)
    with pytest.raises(WeightsUnfit, match="more words than its 3 vectors"):
        started(words(), few)
    with pytest.raises(WeightsUnfit, match="0 lists of words"):
        started(words(), bare)
    with pytest.raises(WeightsUnfit, match="the tokens of bpe are no words or characters"):
        started(fit(BpeTokenizer(vocabulary=256), ["good"]), good)


def test_a_net_starts_from_vectors_and_may_keep_them(tmp_path: Path) -> None:
    backbone = {"kind": "gru", "embedding": 8, "width": 4, "weights": "wt_00000000", "freeze": "until:embedding"}
    spec = a_text_spec(backbone=backbone)
    examples = noise.noise(spec, classes=["good", "bad"], count=4)
    known = examples.tokenizer.as_document()["characters"]
    rows_WD = np.random.default_rng(0).normal(size=(len(known), 8)).astype(np.float32)
    path = vectors_of(tmp_path, rows_WD, "\n".join(known).encode())

    net = TEXT.build(spec, class_count=2, weights_dir=tmp_path, examples=examples, initial_weights=path)

    embedding = net.get_parameter("backbone.embedded.embedding.weight")
    assert np.array_equal(embedding[2:].detach().numpy(), rows_WD)
    assert not embedding.requires_grad
    assert "(100.0%) start from the vectors of backbone.weights wt_00000000" in net.remarks[0]
    restored = TEXT.restore(spec, save(net, tmp_path / "net"), class_count=2)
    assert torch.equal(restored.get_parameter("backbone.embedded.embedding.weight"), embedding)


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    small, large = ({"kind": "gru", "embedding": 8, "width": width} for width in (4, 8))
    spec = a_text_spec(backbone=small)
    net = TEXT.build(spec, class_count=2, weights_dir=tmp_path, examples=noise.noise(spec, classes=["a", "b"], count=2))
    path = save(net, tmp_path / "net")

    with pytest.raises(WeightsUnfit, match=r"reviews's weights has .*, and the backbone needs"):
        TEXT.restore(a_text_spec(backbone=large), path, class_count=2)
    with pytest.raises(WeightsUnfit, match=r"lacks 'backbone\.embedded\.embedding\.weight'"):
        TEXT.restore(spec, vectors_of(tmp_path, VECTORS_WD, b"a"), class_count=2)
