"""Which label and split each image has: from its folders, or from a `labels.csv`.

- `class/…` or `train|val|valid|validation|test/class/…`; folders below a class belong to it; one folder around
  everything (or several, one in the other) is peeled off.
- `labels.csv` beside the images or in the one folder at the top: UTF-8, a header `file,label` or `file,label,split`;
  files are named relative to the table's folder. With a table, folders mean nothing.
"""

import csv
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from models_store.dataset_checks import Check, ManifestEntry
from models_store.dataset_intake import Intake, Picture

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
HEADERS = (["file", "label"], ["file", "label", "split"])
SPARE_ROWS = 1000  # of a table, beyond two for each image: more can't be meant, and would be kept in memory
LONGEST_LABEL = 200


@dataclass(frozen=True)
class Layout:
    """The labelled images (`split` is "" where the archive gives none), all classes named anywhere, the findings.

    `undecodable` are the unreadable files that would have been a part of it: file → why.
    """

    entries: list[ManifestEntry]
    classes: list[str]
    undecodable: dict[str, str]
    checks: list[Check]


def arrange(intake: Intake) -> Layout:
    """Return what the archive says about its images."""
    if intake.tables:
        depth = min(name.count("/") for name in intake.tables)
        names = sorted(name for name in intake.tables if name.count("/") == depth)
        if len(names) == 1:
            return _by_table(intake, names[0])
        message = "there are several tables of labels; keep one, beside the images"
        return Layout([], [], intake.undecodable, [Check("labels_csv_several", "error", message, names)])
    return _by_folders(intake)


def _by_folders(intake: Intake) -> Layout:
    usable = [picture.file for picture in intake.pictures]
    top = _peeled([*usable, *intake.undecodable], intake)
    parts = {file: file[len(top) :].split("/") for file in [*usable, *intake.undecodable]}
    spellings = _split_folders(parts.values())
    if spellings is None:
        message = (
            "some folders at the top are splits and others are not; use class folders alone, "
            "or train, val and test with class folders in each"
        )
        names = sorted({path[0] for path in parts.values() if len(path) > 1})
        return Layout([], [], intake.undecodable, [Check("mixed_layout", "error", message, names)])
    depth = 1 if spellings else 0  # of the class's folder
    unlabelled = [file for file, path in parts.items() if len(path) < depth + 2]
    checks, left_out = _check_unlabelled(unlabelled, parts, spellings)
    entries = [
        _entry(
            picture,
            label=_label(parts[picture.file][depth]),
            split=SPLIT_NAMES[parts[picture.file][0].lower()] if spellings else "",
        )
        for picture in intake.pictures
        if len(parts[picture.file]) >= depth + 2
    ]
    folders = (folder[len(top) :].split("/") for folder in intake.folders if folder.startswith(top))
    folded = {path[depth] for path in folders if len(path) > depth and path[0]}
    folded |= {parts[entry.file][depth] for entry in entries}
    classes = {_label(name) for name in folded}
    checks += _check_folder_names(folded)
    undecodable = {file: reason for file, reason in intake.undecodable.items() if file not in left_out}
    if len(set(spellings.values())) < len(spellings):
        message = "two folders name the same split; join them"
        checks.append(Check("split_names_collide", "error", message, sorted(spellings)))
    return Layout(entries, sorted(classes), undecodable, checks)


def _check_folder_names(names: set[str]) -> list[Check]:
    checks = []
    unfit = sorted(name for name in names if not _is_fit(_label(name)))
    if unfit:
        message = f"class folders have names that are blank, longer than {LONGEST_LABEL} characters or not printable"
        checks.append(Check("class_name_unfit", "error", message, unfit))
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        by_label[_label(name)].append(name)
    alike = [sorted(group) for group in by_label.values() if len(group) > 1]
    if alike:
        message = "class folders differ only by spaces around their names; rename or join them"
        checks.append(
            Check("class_folders_collide", "error", message, sorted(name for group in alike for name in group))
        )
    return checks


def _is_fit(label: str) -> bool:
    return 0 < len(label) <= LONGEST_LABEL and label.isprintable()


def _peeled(images: Sequence[str], intake: Intake) -> str:
    """Return the path of the folder around everything, with a `/` at its end; "" when there is none."""
    filled = _with_parents(file.rpartition("/")[0] for file in [*images, *intake.ignored])
    top = ""
    while True:
        firsts = {image[len(top) :].partition("/")[0] for image in images}
        shallowest = min((image[len(top) :].count("/") for image in images), default=0)
        if len(firsts) != 1 or shallowest < 2:  # noqa: PLR2004  the folder to peel, and its class
            return top
        (first,) = firsts
        if first.lower() in SPLIT_NAMES:
            return top
        siblings = {
            folder for folder in intake.folders if folder.startswith(top) and folder.count("/") == top.count("/")
        }
        if any(folder != top + first and folder not in filled for folder in siblings):
            return top  # an empty folder beside it: that is a class without images
        top = f"{top}{first}/"


def _with_parents(folders: Iterable[str]) -> set[str]:
    known: set[str] = set()
    for folder in folders:
        path = folder
        while path and path not in known:
            known.add(path)
            path = path.rpartition("/")[0]
    return known


def _split_folders(paths: Iterable[list[str]]) -> dict[str, str] | None:
    """Return folder → split; {} when the folders at the top are classes; None when they are some of both."""
    names = {path[0] for path in paths if len(path) > 1}
    splits = {name: SPLIT_NAMES[name.lower()] for name in sorted(names) if name.lower() in SPLIT_NAMES}
    if splits and len(splits) == len(names):
        return splits
    return None if len(set(splits.values())) > 1 else {}


def _check_unlabelled(
    files: Sequence[str], parts: dict[str, list[str]], spellings: dict[str, str]
) -> tuple[list[Check], set[str]]:
    """Judge images outside of a class: a whole val or test split without labels is left out, anything else refused."""
    labelled_splits = {path[0] for path in parts.values() if len(path) > 2}  # noqa: PLR2004  split, class, file
    bare = {
        name
        for name, split in spellings.items()
        if split != "train" and name not in labelled_splits and labelled_splits
    }
    left_out = {file for file in files if parts[file][0] in bare and len(parts[file]) > 1}
    lost = sorted(set(files) - left_out)
    checks = []
    if left_out:
        message = f"the images of {', '.join(sorted(bare))} are in no class folder: without labels they were left out"
        checks.append(Check("unlabelled_split", "warning", message, sorted(left_out)))
    if lost:
        message = (
            f"{len(lost)} images are in no class folder; put each into a folder named after its class, "
            "or add a labels.csv (file,label)"
        )
        checks.append(Check("images_without_class", "error", message, lost))
    return checks, left_out


@dataclass(frozen=True)
class _Row:
    file: str
    label: str
    split: str


def _by_table(intake: Intake, table: str) -> Layout:
    folder = table[: -len(PurePosixPath(table).name)]
    try:
        rows = _bounded(_rows(intake.tables[table], folder), images=len(intake.pictures) + len(intake.undecodable))
    except _TableUnreadable as error:
        check = Check("labels_csv_unreadable", "error", f"{table} can't be read: {error}", [table])
        return Layout([], [], intake.undecodable, [check])
    checks, chosen = _check_rows(rows)
    pictures = {unicodedata.normalize("NFC", picture.file): picture for picture in intake.pictures}
    undecodable = {unicodedata.normalize("NFC", file): file for file in intake.undecodable}
    missing = sorted(file for file in chosen if file not in pictures and file not in undecodable)
    unlisted = sorted(picture.file for file, picture in pictures.items() if file not in chosen)
    if missing:
        message = f"{table} lists {len(missing)} files that the archive does not have, or that are no images"
        checks.append(Check("labels_csv_missing_files", "error", message, missing))
    if unlisted:
        message = f"{len(unlisted)} images are not listed in {table}: without labels they were left out"
        checks.append(Check("labels_csv_unlisted_files", "warning", message, unlisted))
    entries = [
        _entry(picture, label=chosen[file].label, split=chosen[file].split)
        for file, picture in pictures.items()
        if file in chosen
    ]
    listed = {file: intake.undecodable[file] for folded, file in undecodable.items() if folded in chosen}
    return Layout(entries, sorted({row.label for row in chosen.values()}), listed, checks)


class _TableUnreadable(Exception):
    """The table of labels is no table, or another one."""


def _rows(path: Path, folder: str) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            if header not in HEADERS:
                found = ",".join(header)[:200] or "nothing"
                raise _TableUnreadable(f"its header is {found}; allowed are file,label and file,label,split")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise _TableUnreadable(f"line {reader.line_num} has {len(cells)} cells, the header {len(header)}")
                name, label, *rest = (cell.strip() for cell in cells)
                relative = "/".join(part for part in name.replace("\\", "/").split("/") if part not in {"", "."})
                split = rest[0] if rest else ""
                yield _Row(unicodedata.normalize("NFC", folder + relative), _label(label), split)
    except UnicodeDecodeError as error:
        raise _TableUnreadable(f"byte {error.start} is not UTF-8; save it as UTF-8") from error
    except csv.Error as error:
        raise _TableUnreadable(f"{error}") from error


def _bounded(rows: Iterator[_Row], *, images: int) -> list[_Row]:
    most = 2 * images + SPARE_ROWS
    taken = list(islice(rows, most + 1))
    if len(taken) > most:
        raise _TableUnreadable(f"it has more than {most} rows for {images} images; one row each is enough")
    return taken


def _check_rows(rows: Sequence[_Row]) -> tuple[list[Check], dict[str, _Row]]:
    """Return the findings, and file → the row that counts."""
    groups: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        groups[row.file].append(row)
    repeated = sorted(file for file, group in groups.items() if len(group) > 1 and len(set(group)) == 1)
    contradicting = sorted(file for file, group in groups.items() if len(set(group)) > 1)
    unknown = sorted({row.file for row in rows if row.split and row.split.lower() not in SPLIT_NAMES})
    unsplit = sorted({row.file for row in rows if not row.split}) if any(row.split for row in rows) else []
    unfit = sorted({row.file for row in rows if not _is_fit(row.label)})
    names = ", ".join(sorted({row.split for row in rows if row.split.lower() not in SPLIT_NAMES} - {""})[:5])
    found: list[tuple[str, str, list[str]]] = [
        (
            "labels_csv_contradicts_itself",
            "labels.csv has different rows for one file; keep one of them",
            contradicting,
        ),
        (
            "labels_csv_unknown_split",
            f"labels.csv has splits named {names}; allowed are {', '.join(SPLIT_NAMES)}, or none at all",
            unknown,
        ),
        ("labels_csv_split_missing", "labels.csv gives some rows a split and others none; fill all, or none", unsplit),
        (
            "labels_csv_label_unfit",
            f"labels.csv has labels that are empty, longer than {LONGEST_LABEL} characters or not printable",
            unfit,
        ),
    ]
    checks = [Check(name, "error", message, files) for name, message, files in found if files]
    if repeated:
        message = "labels.csv lists some files more than once, always alike; each counts once"
        checks.append(Check("labels_csv_repeated_rows", "warning", message, repeated))
    return checks, {
        file: _Row(file, group[0].label, SPLIT_NAMES.get(group[0].split.lower(), "")) for file, group in groups.items()
    }


def _label(raw: str) -> str:
    return unicodedata.normalize("NFC", raw).strip()


def _entry(picture: Picture, *, label: str, split: str) -> ManifestEntry:
    return ManifestEntry(
        file=picture.file,
        member=picture.member,
        label=label,
        split=split,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
    )
