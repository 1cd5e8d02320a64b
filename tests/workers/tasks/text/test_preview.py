"""Preview of augmentation of texts: what each part makes of a few training texts."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from models_store.datasets.store import ManifestEntry
from models_store.tasks.text.preview import TextPreview
from workers.tasks.text.preview import Previewed, page, previewed

TEXTS = ["the room was clean", "房间很干净，早餐也不错", "never <b>again</b> & again", "good"]


def found(
    folder: Path, *parts: dict[str, Any], auxiliary: dict[str, bytes] | None = None, **more: Any
) -> list[Previewed]:
    """Return a preview of the texts above, of a class each."""
    content = folder / "content.zip"
    with zipfile.ZipFile(content, "w") as archive:
        for number, text in enumerate(TEXTS):
            archive.writestr(f"{number}.txt", text)
    entries = [
        ManifestEntry(
            f"{number}.txt",
            f"{number}.txt",
            f"class {number}",
            "train",
            f"{number:064x}",
            {"paraphrase": f"as {number}"},
        )
        for number in range(len(TEXTS))
    ]
    held_out = ManifestEntry("held out", "0.txt", "class 9", "test", f"{0:064x}")
    asked = TextPreview.model_validate({"augmentation": [*parts], **more})
    return previewed(asked, [*entries, held_out], content, auxiliary=auxiliary or {})


@pytest.mark.parametrize(
    "part",
    [
        {"kind": "paraphrases"},
        {"kind": "synonym_replacement"},
        {"kind": "random_insertion"},
        {"kind": "random_deletion"},
        {"kind": "punctuation_insertion"},
        {"kind": "typos", "rate": 0.5},
        {"kind": "token_dropout", "rate": 0.5},
        {"kind": "mixup", "alpha": 1.0},
    ],
)
def test_a_part_alone_is_applied_to_every_text(tmp_path: Path, part: dict[str, Any]) -> None:
    synonyms = {"synonyms.csv": "clean,tidy\n干净,整洁\nagain,once more\ngood,fine\n".encode()}

    shown = found(tmp_path, part | {"probability": 0.0}, auxiliary=synonyms, views=2)

    changed = [each for each in shown if (change := each.parts[0]).text != each.text or change.mixed_with is not None]
    assert {each.text for each in shown} == set(TEXTS)
    assert len(changed) >= len(TEXTS) - 1  # of one word nothing is deleted, and no letter of a Chinese text is mistyped
    assert all(view.text == each.text and view.mixed_with is None for each in shown for view in each.views)


def test_the_same_seed_shows_the_same_and_another_one_something_else(tmp_path: Path) -> None:
    parts = ({"kind": "typos"}, {"kind": "random_swap"})

    assert found(tmp_path, *parts, seed=1) == found(tmp_path, *parts, seed=1)
    assert found(tmp_path, *parts, seed=1) != found(tmp_path, *parts, seed=2)


def test_homophones_are_characters_of_training_texts(tmp_path: Path) -> None:
    shown = found(tmp_path, {"kind": "homophones", "rate": 0.5, "probability": 1.0})

    assert {sign for each in shown for view in each.views for sign in view.text} <= set("".join(TEXTS))


def test_a_page_marks_what_was_changed_and_shows_tags_as_text(tmp_path: Path) -> None:
    shown = page(found(tmp_path, {"kind": "punctuation_insertion", "probability": 1.0}))

    assert "<mark>" in shown
    assert "&lt;b&gt;" in shown
    assert "<b>again" not in shown
