"""A net that knows the odd strings' characters, its file, and the strings as training reads them."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.manifest import ManifestEntry
from models_store.tasks.text.contract import TOKENIZER
from models_store.tasks.text.spec import ResolvedTextSpec
from tests.tasks.text.odd_strings import is_text, odd_strings
from tests.workers.tasks.text.text_nets import a_text_spec, exported, with_large_weights
from workers.tasks.text import examples as text_examples
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.task import TEXT
from workers.training.learner import Learner

MOST_TOKENS = 96
CLASSES = ["good", "bad"]


@dataclass(frozen=True)
class Skew:
    """A net, its file and its examples: the strings that are texts, in their order."""

    spec: ResolvedTextSpec
    texts: list[str]
    examples: TextExamples
    net: Learner
    path: Path
    tokenizer: Path

    @property
    def card(self) -> dict[str, Any]:
        return {"task": self.spec.task, "labels": CLASSES, **TEXT.described(self.spec)}


def make(folder: Path, *, kind: str, count: int, **options: Any) -> Skew:
    """Return a net with a tokenizer that was fitted to every fifth text."""
    tokenizer = {"kind": kind, **options}
    spec = a_text_spec(input={"tokenizer": tokenizer, "max_tokens": MOST_TOKENS, "truncate": "middle"})
    texts = [string for string in odd_strings(count) if is_text(string)]
    folder.mkdir(exist_ok=True)
    examples = _stored(texts, spec, folder)
    net = TEXT.build(spec, class_count=len(CLASSES), weights_dir=folder, examples=examples)
    net = with_large_weights(net).eval()
    files = TEXT.auxiliary_files(examples, folder)
    return Skew(spec, texts, examples, net, exported(net, spec, folder / "skew.onnx"), files[TOKENIZER])


def _stored(texts: list[str], spec: ResolvedTextSpec, folder: Path) -> TextExamples:
    """Return the texts as training reads them: from a stored dataset."""
    content, manifest = folder / "content.zip", []
    with zipfile.ZipFile(content, "w") as archive:
        for row, text in enumerate(texts):
            archive.writestr(str(row), text.encode())
            split = "val" if row % 5 else "train"
            manifest.append(ManifestEntry(f"{row}.txt", str(row), CLASSES[row % 2], split, ""))
    return text_examples.prepare(
        spec,
        manifest,
        content,
        classes=CLASSES,
        digest="odd",
        auxiliary={},
        cache=folder,
        cache_max_bytes=1 << 40,
        report=lambda _: None,
    )


def given_by_a_client(text: str) -> NDArray[np.int32]:
    """Return code points int32 (1, L), as a client of the file makes them without any of our code."""
    numbers = np.frombuffer(text.removeprefix("\ufeff").encode("utf-32-le"), "<i4")
    if len(numbers) > MOST_TOKENS:
        numbers = np.concatenate([numbers[: MOST_TOKENS // 2], numbers[-(MOST_TOKENS // 2) :]])
    return (numbers if len(numbers) else np.zeros(1, np.int32))[None].astype(np.int32)
