"""A net that reads code points, and texts as people never write them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models_store.tasks.text.contract import TEXT as CONTRACT
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.spec import TextSpec, of_texts
from models_store.tasks.text.tokenizers import fit
from workers.export.graph import export
from workers.tasks.text.augmentations.letters import codes_of
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.task import TEXT

SEEN = 48
LABELS = ["好", "bad", "both"]
KNOWN = [
    "房间很干净,早餐也不错。服务員態度很好",
    "The quick brown fox jumps over 13 lazy dogs!",
    "ｆｕｌｌ　ｗｉｄｔｈ ＡＢＣ １２３ ﾊﾝｶｸ カタカナ",
    "Ça été ΑΒΓ жёлтый straße ẞ ﬁ Ǆ İ ı",
    "😀👩\u200d👩\u200d👧🏽 ❤️ 🇨🇳",
    "مرحبا بالعالم שלום \u202eabc\u202c ไทย हिन्दी 한국어",
]
ODD = [
    "", " ", "\n", "a\n", "a\r\n", "\t", "\x07", "\x7f\x9f", "a\ufeff", "\ufeffa", "\ufeff\ufeffa", "\u200b",
    "\u00a0", "\u3000", "e\u0301", "\u0301", "e" + "\u0301" * 40, "\U0010ffff", "\uffff", "\ufdd0", "\U000e0041",
    "a\0b", "\0", "\ud800", "a\udfffb", "\ud83d\ude00", "\ude00\ud83d", "A" * SEEN, "A" * (SEEN + 1), "好" * 1000,
    "x" * 100_000, "x" * 100_001, "\u2028\u2029", "İI\u0307",
]  # fmt: skip


@dataclass(frozen=True)
class ReadingNet:
    """A file with random weights, as a job exports it, its card, and the tokenizer beside it."""

    path: Path
    card: dict[str, Any]
    files: Mapping[str, Path]


def write_reading_net(folder: Path, *, truncate: str = "end") -> ReadingNet:
    """Write a net that numbers the code points."""
    backbone = {"kind": "text_cnn", "embedding": 16, "kernels": [2, 3], "filters": 16}
    return _write(folder, backbone, tokenizer={"kind": "characters", "min_count": 1}, truncate=truncate)


def write_net_of_words(folder: Path) -> ReadingNet:
    """Write a net that finds the words itself: it knows the n-grams of a few texts."""
    backbone = {"kind": "ngram_bag", "min_count": 1, "embedding": 16}
    return _write(folder, backbone, tokenizer={"kind": "code_points"})


def _write(folder: Path, backbone: dict[str, Any], *, tokenizer: dict[str, Any], truncate: str = "end") -> ReadingNet:
    document = {
        "task": "text_classification",
        "name": "reading",
        "dataset": "ds_00000000",
        "input": {"tokenizer": tokenizer, "max_tokens": SEEN, "truncate": truncate},
        "backbone": backbone,
    }
    facts = TextFacts(len(LABELS), dict.fromkeys(LABELS, 1))
    spec = of_texts(CONTRACT.resolve(TextSpec.model_validate(document), facts)[0])
    assert spec.input.tokenizer is not None
    examples = TextExamples(
        inputs={"code_points": codes_of(KNOWN)},
        targets=np.arange(len(KNOWN)) % len(LABELS),
        splits_N=np.full(len(KNOWN), "train"),
        classes=LABELS,
        tokenizer=fit(spec.input.tokenizer, KNOWN),
    )
    net = TEXT.build(spec, class_count=len(LABELS), weights_dir=folder, examples=examples)
    card = {"task": spec.task, "labels": LABELS, "input": spec.input.model_dump(mode="json")}
    path = folder / "reading.onnx"
    export(TEXT.served(net.eval(), spec), opset=20, labels=LABELS, card=card, path=path)
    return ReadingNet(path, card, TEXT.auxiliary_files(examples, folder))
