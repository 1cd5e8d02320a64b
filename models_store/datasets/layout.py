"""Layout of an archive: the label, labels or number and the split of each example, by folders or by a `labels.csv`.

- `class/…`, `split/class/…` or `class/split/…` (see `folders`); folders below a class belong to it; one folder
  around everything (or several, one in the other) is peeled off.
- `labels.csv` beside the examples or in the one folder at the top (see `table`). With a table, folders mean
  nothing.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from models_store import names
from models_store.datasets import table as dataset_table
from models_store.datasets.example import Example
from models_store.datasets.folders import Folders, LayoutChoice, read_folders
from models_store.datasets.intake import Intake
from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.report import Check
from models_store.datasets.split_names import CANONICAL
from models_store.datasets.table import Row, label_of
from models_store.spec.facts import Target
from models_store.tasks.task import Contract
from models_store.wording import counted, inflected


@dataclass(frozen=True)
class Layout:
    """The labelled examples (`split` is "" where the archive gives none), all classes named anywhere, the findings.

    `target` says what examples have; of numbers there are no classes.

    `undecodable` are the unreadable files that would have been a part of it: file → why.
    """

    entries: Sequence[ManifestEntry]
    classes: list[str]
    undecodable: dict[str, str]
    checks: list[Check]
    target: Target = "class"


def arrange(intake: Intake, *, layout: LayoutChoice = "auto") -> Layout:
    """Return what the archive says about its examples; `layout` is how its owner says that folders are meant."""
    if (rows := intake.rows) is not None:
        return Layout(rows.entries, rows.classes, {}, [*rows.checks, *_check_layout(intake, layout)], rows.target)
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


def _check_layout(intake: Intake, layout: LayoutChoice) -> Iterator[Check]:
    if layout != "auto":
        message = (
            f"the {intake.contract.examples} are rows of tables: folders mean nothing, and `layout={layout}` neither"
        )
        yield Check("layout_unused", "warning", message)


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
    usable = [example.file for example in intake.examples]
    top = _peeled([*usable, *intake.undecodable], intake)
    parts = {file: file[len(top) :].split("/") for file in [*usable, *intake.undecodable]}
    read = read_folders(parts.values(), layout=layout)
    if any(check.severity == "error" for check in read.checks):
        return Layout([], [], intake.undecodable, read.checks)
    unlabelled = [file for file, path in parts.items() if len(path) < read.depth]
    checks, left_out = _check_unlabelled(unlabelled, parts, read, intake.contract)
    entries = [
        _entry(
            example,
            label=label_of(parts[example.file][read.class_at]),
            split=read.split_of(parts[example.file]),
        )
        for example in intake.examples
        if len(parts[example.file]) >= read.depth
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


def _peeled(files: Sequence[str], intake: Intake) -> str:
    """Return the path of the folder around everything, with a `/` at its end; "" when there is none."""
    filled = _with_parents(file.rpartition("/")[0] for file in [*files, *intake.ignored])
    top = ""
    while True:
        firsts = {file[len(top) :].partition("/")[0] for file in files}
        shallowest = min((file[len(top) :].count("/") for file in files), default=0)
        if len(firsts) != 1 or shallowest < 2:  # noqa: PLR2004  the folder to peel, and its class
            return top
        (first,) = firsts
        if first.lower() in CANONICAL:
            return top
        siblings = {
            folder for folder in intake.folders if folder.startswith(top) and folder.count("/") == top.count("/")
        }
        if any(folder != top + first and folder not in filled for folder in siblings):
            return top  # an empty folder beside it: that is a class without examples
        top = f"{top}{first}/"


def _with_parents(folders: Iterable[str]) -> set[str]:
    known: set[str] = set()
    for folder in folders:
        path = folder
        while path and path not in known:
            known.add(path)
            path = path.rpartition("/")[0]
    return known


def _check_unlabelled(
    files: Sequence[str], parts: dict[str, list[str]], read: Folders, contract: Contract
) -> tuple[list[Check], set[str]]:
    """Look at examples outside of a class: a whole val or test split without labels is left out, others are refused."""
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
        splits = ", ".join(sorted(bare))
        message = f"the {contract.examples} of {splits} are in no class folder: without labels they were left out"
        checks.append(Check("unlabelled_split", "warning", message, sorted(left_out)))
    if lost:
        message = (
            f"{_is_or_are(len(lost), contract)} in no class folder; put each into a folder named after its class, "
            "or add a labels.csv (file,label)"
        )
        checks.append(Check("images_without_class", "error", message, lost))
    return checks, left_out


def _by_table(intake: Intake, names: Sequence[str], *, layout: LayoutChoice) -> Layout | None:
    """Return what the tables say; None when they are those of splits by name, and no tables of labels."""
    name = ", ".join(names)
    splits = {each: dataset_table.split_of_table(PurePosixPath(each).name) or "" for each in names}
    if len(set(splits.values())) < len(splits):
        message = f"there are several tables of labels; keep one, beside the {intake.contract.examples}"
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
        example = intake.contract.example
        message = f"{name} says what each {example} is: folders mean nothing beside it, and `layout={layout}` neither"
        checks.append(Check("layout_unused", "warning", message, list(names)))
    examples = {unicodedata.normalize("NFC", example.file): example for example in intake.examples}
    undecodable = {unicodedata.normalize("NFC", file): file for file in intake.undecodable}
    if any(splits.values()):
        message = f"{name} {inflected(len(names), 'is read as a table', 'are read as tables')} of labels"
        checks.append(Check("labels_csv_names", "info", message, list(names)))
    missing = sorted(file for file in rows if file not in examples and file not in undecodable)
    unlisted = sorted(example.file for file, example in examples.items() if file not in rows)
    if missing:
        one = f"file that the archive does not have, or that is no {intake.contract.example}"
        many = f"files that the archive does not have, or that are no {intake.contract.examples}"
        message = f"{name} lists {counted(len(missing), one, many)}"
        checks.append(Check("labels_csv_missing_files", "error", message, missing))
    if unlisted:
        message = f"{_is_or_are(len(unlisted), intake.contract)} not listed in {name}: what has no labels was left out"
        checks.append(Check("labels_csv_unlisted_files", "warning", message, unlisted))
    entries = [_listed(example, rows[file]) for file, example in examples.items() if file in rows]
    listed = {file: intake.undecodable[file] for folded, file in undecodable.items() if folded in rows}
    classes = sorted({label for row in rows.values() for label in row.names})
    return Layout(entries, classes, listed, checks, table.target)


def _read(intake: Intake, splits: Mapping[str, str]) -> dataset_table.Table:
    """Return the table, or those of the splits as one; a test.csv without labels is left out.

    Raises:
        TableUnreadable: if the only one can't be read, or that of the train split.
    """
    files = len(intake.examples) + len(intake.undecodable)
    tables: dict[str, tuple[str, dataset_table.Table]] = {}
    for name, split in splits.items():
        folder = name[: -len(PurePosixPath(name).name)]
        try:
            tables[name] = (split, dataset_table.read(intake.tables[name], folder, files=files))
        except dataset_table.TableUnreadable:
            if split in {"", "train"}:
                raise
            intake.ignored.append(name)
    if len(tables) == 1:
        return next(iter(tables.values()))[1]
    return dataset_table.joined(tables)


def _listed(example: Example, row: Row) -> ManifestEntry:
    return ManifestEntry(
        file=example.file,
        member=example.member,
        label=row.target if isinstance(row.target, str) else "",
        split=row.split,
        sha256=example.sha256,
        facts=example.facts,
        group=row.group,
        labels=row.target if isinstance(row.target, tuple) else (),
        value=row.target if isinstance(row.target, float) else None,
        alike=example.alike,
    )


def _entry(example: Example, *, label: str, split: str) -> ManifestEntry:
    return ManifestEntry(example.file, example.member, label, split, example.sha256, example.facts, alike=example.alike)


def _is_or_are(count: int, contract: Contract) -> str:
    return counted(count, f"{contract.example} is", f"{contract.examples} are")
