"""Which label (or labels, or number) and split each image has: from its folders, or from a `labels.csv`.

- `class/…`, `split/class/…` or `class/split/…` (see `dataset_folders`); folders below a class belong to it; one folder
  around everything (or several, one in the other) is peeled off.
- `labels.csv` beside the images or in the one folder at the top (see `dataset_table`). With a table, folders mean
  nothing.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from models_store import names
from models_store.datasets import table as dataset_table
from models_store.datasets.checks import Check
from models_store.datasets.folders import Folders, LayoutChoice, read_folders
from models_store.datasets.intake import Intake, Picture
from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.split_names import CANONICAL
from models_store.datasets.table import Row, label_of
from models_store.spec.facts import Target


@dataclass(frozen=True)
class Layout:
    """The labelled images (`split` is "" where the archive gives none), all classes named anywhere, the findings.

    `target` says what images have; of numbers there are no classes.

    `undecodable` are the unreadable files that would have been a part of it: file → why.
    """

    entries: list[ManifestEntry]
    classes: list[str]
    undecodable: dict[str, str]
    checks: list[Check]
    target: Target = "class"


def arrange(intake: Intake, *, layout: LayoutChoice = "auto") -> Layout:
    """Return what the archive says about its images; `layout` is how its owner says that folders are meant."""
    names, unused = _tables(intake)
    arranged = _by_table(intake, names, layout=layout) if names else None
    if arranged is None:
        arranged = _by_folders(intake, layout=layout)
        unused = sorted({*unused, *names})
    if unused:
        message = (
            "tables were seen and not used: labels.csv (or train.csv, test.csv …, with the same columns) is read at "
            f"the top or in the one folder there; {dataset_table.ALLOWED}"
        )
        arranged.checks.append(Check("labels_csv_ignored", "warning", message, unused))
    return arranged


def _tables(intake: Intake) -> tuple[list[str], list[str]]:
    """Return the tables that count, and the others: those called labels.csv before the splits', the highest first."""
    deeper = [name for name in intake.ignored if dataset_table.split_of_table(PurePosixPath(name).name) == ""]
    ranks = {
        name: (dataset_table.split_of_table(PurePosixPath(name).name) != "", name.count("/")) for name in intake.tables
    }
    best = min(ranks.values(), default=None)
    chosen = sorted(name for name, rank in ranks.items() if rank == best)
    of_splits = bool(best and best[0])
    if of_splits and not any(dataset_table.split_of_table(PurePosixPath(name).name) == "train" for name in chosen):
        chosen = []  # a test.csv beside class folders is about something else
    return chosen, sorted({*deeper, *(name for name in intake.tables if name not in chosen)})


def _by_folders(intake: Intake, *, layout: LayoutChoice) -> Layout:
    usable = [picture.file for picture in intake.pictures]
    top = _peeled([*usable, *intake.undecodable], intake)
    parts = {file: file[len(top) :].split("/") for file in [*usable, *intake.undecodable]}
    read = read_folders(parts.values(), layout=layout)
    if any(check.severity == "error" for check in read.checks):
        return Layout([], [], intake.undecodable, read.checks)
    unlabelled = [file for file, path in parts.items() if len(path) < read.depth]
    checks, left_out = _check_unlabelled(unlabelled, parts, read)
    entries = [
        _entry(
            picture,
            label=label_of(parts[picture.file][read.class_at]),
            split=read.split_of(parts[picture.file]),
        )
        for picture in intake.pictures
        if len(parts[picture.file]) >= read.depth
    ]
    folders = (folder[len(top) :].split("/") for folder in intake.folders if folder.startswith(top))
    folded = {path[read.class_at] for path in folders if len(path) > read.class_at and path[0]}
    folded |= {parts[entry.file][read.class_at] for entry in entries}
    classes = {label_of(name) for name in folded}
    checks += [*read.checks, *_check_folder_names(folded)]
    undecodable = {file: reason for file, reason in intake.undecodable.items() if file not in left_out}
    return Layout(entries, sorted(classes), undecodable, checks)


def _check_folder_names(folders: set[str]) -> list[Check]:
    checks = []
    unfit = {folder: fault for folder in sorted(folders) if (fault := names.fault(label_of(folder)))}
    if unfit:
        folder, fault = next(iter(unfit.items()))
        message = f"class folders have names that no class may have: {folder[:50]!a} {fault}"
        reasons = {folder: f"the name {fault}" for folder, fault in unfit.items()}
        checks.append(Check("class_name_unfit", "error", message, list(unfit), reasons))
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for name in folders:
        by_label[label_of(name)].append(name)
    alike = [sorted(group) for group in by_label.values() if len(group) > 1]
    if alike:
        message = "class folders differ only by spaces around their names; rename or join them"
        checks.append(
            Check("class_folders_collide", "error", message, sorted(name for group in alike for name in group))
        )
    return checks


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
        if first.lower() in CANONICAL:
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


def _check_unlabelled(files: Sequence[str], parts: dict[str, list[str]], read: Folders) -> tuple[list[Check], set[str]]:
    """Judge images outside of a class: a whole val or test split without labels is left out, anything else refused."""
    labelled_splits = {path[0] for path in parts.values() if len(path) > 2}  # noqa: PLR2004  split, class, file
    bare = {
        name
        for name, split in (read.splits.items() if read.split_at == 0 else ())
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


def _by_table(intake: Intake, names: Sequence[str], *, layout: LayoutChoice) -> Layout | None:
    """Return what the tables say; None when they are those of splits by name, and no tables of labels."""
    name = ", ".join(names)
    splits = {each: dataset_table.split_of_table(PurePosixPath(each).name) or "" for each in names}
    if len(set(splits.values())) < len(splits):
        message = "there are several tables of labels; keep one, beside the images"
        return Layout([], [], intake.undecodable, [Check("labels_csv_several", "error", message, list(names))])
    try:
        table = _read(intake, splits)
    except dataset_table.TableUnreadable as error:
        if any(splits.values()):
            return None
        check = Check("labels_csv_unreadable", "error", f"{name} can't be read: {error}", list(names))
        return Layout([], [], intake.undecodable, [check])
    checks, rows = [*table.checks], table.rows
    if layout != "auto":
        message = f"{name} says what each image is: folders mean nothing beside it, and `layout={layout}` neither"
        checks.append(Check("layout_unused", "warning", message, list(names)))
    pictures = {unicodedata.normalize("NFC", picture.file): picture for picture in intake.pictures}
    undecodable = {unicodedata.normalize("NFC", file): file for file in intake.undecodable}
    if any(splits.values()):
        message = f"{name} are read as tables of labels"
        checks.append(Check("labels_csv_names", "info", message, list(names)))
    missing = sorted(file for file in rows if file not in pictures and file not in undecodable)
    unlisted = sorted(picture.file for file, picture in pictures.items() if file not in rows)
    if missing:
        message = f"{name} lists {len(missing)} files that the archive does not have, or that are no images"
        checks.append(Check("labels_csv_missing_files", "error", message, missing))
    if unlisted:
        message = f"{len(unlisted)} images are not listed in {name}: without labels they were left out"
        checks.append(Check("labels_csv_unlisted_files", "warning", message, unlisted))
    entries = [_listed(picture, rows[file]) for file, picture in pictures.items() if file in rows]
    listed = {file: intake.undecodable[file] for folded, file in undecodable.items() if folded in rows}
    classes = sorted({label for row in rows.values() for label in row.names})
    return Layout(entries, classes, listed, checks, table.target)


def _read(intake: Intake, splits: Mapping[str, str]) -> dataset_table.Table:
    """Return the table, or those of the splits as one; a test.csv without labels is left out.

    Raises:
        TableUnreadable: if the only one can't be read, or that of the train split.
    """
    images = len(intake.pictures) + len(intake.undecodable)
    tables: dict[str, tuple[str, dataset_table.Table]] = {}
    for name, split in splits.items():
        folder = name[: -len(PurePosixPath(name).name)]
        try:
            tables[name] = (split, dataset_table.read(intake.tables[name], folder, images=images))
        except dataset_table.TableUnreadable:
            if split in {"", "train"}:
                raise
            intake.ignored.append(name)
    if len(tables) == 1:
        return next(iter(tables.values()))[1]
    return dataset_table.joined(tables)


def _listed(picture: Picture, row: Row) -> ManifestEntry:
    return ManifestEntry(
        file=picture.file,
        member=picture.member,
        label=row.target if isinstance(row.target, str) else "",
        split=row.split,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
        group=row.group,
        labels=row.target if isinstance(row.target, tuple) else (),
        value=row.target if isinstance(row.target, float) else None,
    )


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
