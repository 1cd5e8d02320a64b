"""Tables of an archive whose rows are examples: found by name and columns, and opened together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models_store.datasets import example_tables
from models_store.datasets.example_tables import ExampleTable
from models_store.datasets.findings import place_of
from models_store.datasets.report import Check, DatasetUnusable
from models_store.datasets.table import split_of_table
from models_store.datasets.table_formats import Format, format_of
from models_store.datasets.table_lines import Encoding, TableRefused, starts_of
from models_store.spec.facts import Target
from models_store.tasks.task import Contract


@dataclass(frozen=True)
class Source:
    """A table's file, and the split that its name says, "" for none."""

    path: Path
    format: Format
    split: str = ""


@dataclass(frozen=True)
class Opened:
    """Tables that are read together."""

    tables: Mapping[str, ExampleTable]
    target: Target
    checks: list[Check]


def is_table(path: PurePosixPath, contracts: Sequence[Contract]) -> bool:
    """Return whether a file of this name may be a table whose rows are examples."""
    format_ = format_of(path.name)
    if format_ is None or all(contract.column is None for contract in contracts):
        return False
    return (
        format_ == "fasttext" or _split_of(path) is not None or any(_is_named_after(path, each) for each in contracts)
    )


def sources_of(
    tables: Mapping[str, Path], contracts: Sequence[Contract], encoding: Encoding, *, has_files: bool
) -> tuple[Contract, dict[str, Source]] | None:
    """Return the task that has its examples in these tables, and the tables that count; None: they list files.

    A table named after the examples (`texts.csv`) has them; one of labels or of a split does if it has their column
    and no `file`, or a column of another name where the archive has nothing else (`has_files`). Of several, those named
    after the examples count before `labels.csv`, and that before the splits' own.
    """
    for contract in (each for each in contracts if each.column is not None):
        ranks: dict[str, tuple[int, int]] = {}
        for name, path in tables.items():
            if (rank := _rank(PurePosixPath(name), path, contract, encoding, has_files=has_files)) is not None:
                ranks[name] = (rank, name.count("/"))
        best = min(ranks.values(), default=None)
        if best is not None:
            chosen = sorted(name for name, rank in ranks.items() if rank == best)
            return contract, {name: _source(name, tables[name], is_one=len(chosen) == 1) for name in chosen}
    return None


@dataclass(frozen=True)
class Table:
    """An upload that is a single table: the name that its rows go by, and its format."""

    name: str
    format: Format


def opened(contract: Contract, sources: Mapping[str, Source], encoding: Encoding) -> Opened:
    """Open all tables; one of val or test that has no labels is left out.

    Raises:
        DatasetUnusable: if one can't be read, or they don't fit together.
    """
    splits = [source.split for source in sources.values()]
    if len(set(splits)) < len(splits):
        message = f"there are several tables of {contract.examples}; keep one, or one for each split"
        raise DatasetUnusable([Check("tables_several", "error", message, sorted(sources))])
    tables: dict[str, ExampleTable] = {}
    checks: list[Check] = []
    for name, source in sources.items():
        wanted: example_tables.Wanted = "needed" if source.split in {"", "train"} else "optional"
        try:
            table = example_tables.read(source.path, source.format, contract, encoding=encoding, targets=wanted)
        except TableRefused as error:
            raise refusal(error, name, source, encoding) from error
        if table.target is None:
            message = f"{name} has no column of what is learned: without it, its {contract.examples} were left out"
            checks.append(Check("unlabelled_split", "warning", message, [name]))
        else:
            tables[name] = table
    if not tables:
        message = f"no table of {contract.examples} says what is learned: add `label`, `labels` or `value`"
        raise DatasetUnusable([Check("label_missing", "error", message, sorted(sources))])
    targets = {table.target or "class" for table in tables.values()}
    if len(targets) > 1:
        message = "the tables of the splits don't have the same columns; give all of them the same"
        raise DatasetUnusable([Check("tables_differ", "error", message, sorted(tables))])
    unused = sorted({column for table in tables.values() for column in table.unused})
    if unused:
        known = ", ".join((str(contract.column), *example_tables.OPTIONAL, *contract.fact_columns))
        message = f"columns that are not used: {', '.join(unused)[:200]}; beside what is learned, {known} are"
        checks.append(Check("columns_not_used", "warning", message, unused))
    return Opened(tables, targets.pop(), checks)


def refusal(error: TableRefused, name: str, source: Source, encoding: Encoding) -> DatasetUnusable:
    """Return the refusal of a whole table, with the place of what is wrong."""
    line, place = error.line, ""
    if line is not None:
        place = f"{place_of(line, starts_of(source.path, {line}, encoding).get(line))}: "
    message = f"{name} can't be read: {place}{error}"
    return DatasetUnusable([Check(error.code, "error", message, [name if line is None else f"{name}:{line}"])])


def _rank(file: PurePosixPath, path: Path, contract: Contract, encoding: Encoding, *, has_files: bool) -> int | None:
    """Return how much a table counts, 0 most; None: its rows are not this task's examples."""
    format_ = format_of(file.name)
    if format_ is None:
        return None
    if format_ == "fasttext" or _is_named_after(file, contract):
        return 0
    columns = {*example_tables.columns_of(path, format_, encoding)}
    is_meant = contract.column in columns or not (has_files or columns.isdisjoint(contract.column_aliases))
    if "file" in columns or not is_meant:
        return None
    return 1 if _split_of(file) == "" else 2


def _source(name: str, path: Path, *, is_one: bool) -> Source:
    format_ = format_of(name)
    assert format_ is not None, "a table has a format"
    split = _split_of(PurePosixPath(name)) or ""
    return Source(path, format_, "" if is_one else split)


def _is_named_after(path: PurePosixPath, contract: Contract) -> bool:
    return contract.column is not None and path.name.partition(".")[0].casefold() == contract.examples


def _split_of(path: PurePosixPath) -> str | None:
    """Return the split that the table's name says, "" for all; None if it says something else."""
    return split_of_table(f"{path.name.partition('.')[0]}.csv")
