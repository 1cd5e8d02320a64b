"""Preview of augmentation: texts beside what each part makes of them, and what all parts make of them together."""

# N texts, L code points

import html
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path

import torch
from torch import Generator

from models_store.datasets.store import ManifestEntry
from models_store.spec.part import Part
from models_store.tasks.text.augmentation import Homophones
from models_store.tasks.text.auxiliary import SYNONYMS, read_synonyms
from models_store.tasks.text.codec import text_of
from models_store.tasks.text.preview import TextPreview
from workers.evaluation.page import STYLE
from workers.evaluation.tables import cell, table, text
from workers.tasks.chosen import chosen
from workers.tasks.text.augmentations import Augmentation, Material
from workers.tasks.text.augmentations.application import UNKNOWN
from workers.tasks.text.augmentations.letters import codes_of, texts_of
from workers.tasks.text.examples import paraphrases_of

MOST_CHARACTERS = 1000
"""of each text; the end of a longer one is not shown"""
MOST_READ = 20_000
"""training texts whose characters homophones are taken from"""
PIECE = re.compile(r"[^\W_]+|\s+|.", re.DOTALL)
"""what is marked as a whole where it was changed"""


@dataclass(frozen=True)
class Change:
    """A changed copy of a text: by one part, or by all of them (None)."""

    part: str | None
    text: str
    mixed_with: str | None = None
    """the other text, whose features are blended with this one's"""
    share: float | None = None
    """of the other text"""


@dataclass(frozen=True)
class Previewed:
    """A text with its changed copies."""

    file: str
    target: str | float | list[str]
    text: str
    is_cut: bool
    parts: list[Change]
    views: list[Change]

    def as_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return asdict(self)


def previewed(
    preview: TextPreview, manifest: Sequence[ManifestEntry], content: Path, *, auxiliary: Mapping[str, bytes]
) -> list[Previewed]:
    """Return texts of the train split with their changed copies.

    Raises:
        BadExample: if a text of the dataset can't be read.
    """
    entries = chosen(manifest, count=preview.texts, seed=preview.seed)
    with zipfile.ZipFile(content) as archive:
        whole = [text_of(archive.read(entry.member)) for entry in entries]
        material = _material(preview, manifest, archive, dict(zip(map(id, entries), whole, strict=True)), auxiliary)
    texts = [each[:MOST_CHARACTERS] for each in whole]
    generator = Generator().manual_seed(preview.seed)
    alone = [
        _changed(texts, [_always(part)], material, part=str(part.kind), generator=generator)
        for part in preview.augmentation
    ]
    together = [
        _changed(texts, preview.augmentation, material, part=None, generator=generator) for _ in range(preview.views)
    ]
    return [
        Previewed(
            entry.file,
            entry.target,
            given,
            len(given) < len(all_of_it),
            [changes[row] for changes in alone],
            [changes[row] for changes in together],
        )
        for row, (entry, given, all_of_it) in enumerate(zip(entries, texts, whole, strict=True))
    ]


def page(found: Sequence[Previewed]) -> str:
    """Return one page that needs nothing from outside; what differs from a text is marked in its copies."""
    sections = []
    for each in found:
        rows = [["", text(each.text) + (" …" if each.is_cut else "")]]
        rows += [
            [text(change.part or "all parts"), _marked(each.text, change)] for change in (*each.parts, *each.views)
        ]
        title = f"<h2>{cell(each.target)} <small class=faint>{text(each.file)}</small></h2>"
        sections.append(title + table(["changed by", "text"], rows, numbers=0, long=["text"]))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Augmentation</title><style>{STYLE}</style></head>\n<body>\n<h1>Augmentation</h1>\n"
        "<p>Each part is shown alone, applied to every text; then all parts together, as training draws them.</p>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _material(
    preview: TextPreview,
    manifest: Sequence[ManifestEntry],
    archive: zipfile.ZipFile,
    texts: Mapping[int, str],
    auxiliary: Mapping[str, bytes],
) -> Material:
    """Return what the parts take from the dataset."""
    wordings = {
        texts[id(manifest[row])][:MOST_CHARACTERS]: found
        for row, found in paraphrases_of(manifest, auxiliary).items()
        if id(manifest[row]) in texts
    }
    characters = ""
    if any(isinstance(part, Homophones) for part in preview.augmentation):
        members = [entry.member for entry in manifest if entry.split == "train"][:MOST_READ]
        characters = "".join(sorted({sign for member in members for sign in text_of(archive.read(member))}))
    synonyms = read_synonyms(auxiliary[SYNONYMS]) if SYNONYMS in auxiliary else {}
    return Material(synonyms=synonyms, paraphrases=wordings, characters=characters)


def _always(part: Part) -> Part:
    return part.model_copy(update={"probability": 1.0})


def _changed(
    texts: Sequence[str], parts: Sequence[Part], material: Material, *, part: str | None, generator: Generator
) -> list[Change]:
    """Return what some parts make of the texts; one character stands for each token that is hidden."""
    augmentation = Augmentation(parts, material)
    codes_NL = torch.from_numpy(codes_of(augmentation.rewritten(texts, generator=generator)))
    made = texts_of(augmentation.hidden(codes_NL, unknown=UNKNOWN, generator=generator).numpy())
    if not augmentation.mixes:
        return [Change(part, each) for each in made]
    mixed, _ = augmentation.mix(codes_NL, torch.zeros(len(texts), 1), generator=generator)
    others = [
        (made[partner], float(share)) for partner, share in zip(mixed.partners_B, mixed.given_B1[:, 0], strict=True)
    ]
    return [
        Change(part, each, other, round(share, 3)) if share else Change(part, each)
        for each, (other, share) in zip(made, others, strict=True)
    ]


def _marked(original: str, change: Change) -> str:
    """Return a changed copy with what is not in the original between marks, and where something is left out."""
    before, after = PIECE.findall(original), PIECE.findall(change.text)
    shown = []
    for kind, _, _, start, end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        piece = html.escape("".join(after[start:end]))
        shown.append(piece if kind == "equal" else f"<mark>{piece or '&#8203;'}</mark>")
    if change.mixed_with is not None:
        shown.append(f"<br><small>with {change.share:.0%} of: {text(change.mixed_with)}</small>")
    return "".join(shown)
