"""Assembly of a dataset from an archive's intake: its examples in their splits, its findings, its card."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from models_store.archives.zip_names import NameEncoding
from models_store.datasets.auxiliary import members_of
from models_store.datasets.checks import check_classes, check_entries, check_links
from models_store.datasets.copies import leaks, with_kin, with_leaks
from models_store.datasets.entries_on_disk import ordered
from models_store.datasets.example import Example
from models_store.datasets.folders import LayoutChoice
from models_store.datasets.intake import Intake
from models_store.datasets.layout import Layout, arrange
from models_store.datasets.manifest import SPLITS, ManifestEntry, counts
from models_store.datasets.near_copies import Sketches
from models_store.datasets.passed import passed
from models_store.datasets.report import Check, DatasetUnusable, report
from models_store.datasets.splits import complete
from models_store.spec.facts import Target
from models_store.tasks.task import Contract
from models_store.wording import counted, inflected

Undecodable = Literal["refuse", "skip"]
"""what becomes of an archive with files that can't be decoded"""


@dataclass(frozen=True)
class Assembled:
    """A dataset without errors: its examples in their splits, its classes or labels, and all findings."""

    contract: Contract
    entries: Sequence[ManifestEntry]
    classes: list[str]
    target: Target
    origin: str
    checks: list[Check]

    def report(self) -> dict[str, Any]:
        """Return what was found, and what was looked at and is in order."""
        found = {check.check for check in self.checks}
        return report(self.checks) | {
            "passed": passed(self.entries, self.classes, self.target, self.contract, found=found)
        }


def assemble(intake: Intake, *, undecodable: Undecodable, layout: LayoutChoice) -> Assembled:
    """Return the dataset that the intake holds.

    Raises:
        DatasetUnusable: if a finding is an error.
    """
    contract, arranged = intake.contract, arrange(intake, layout=layout)
    checks = [*arranged.checks, *_check_undecodable(intake, arranged, undecodable), *_check_others(intake)]
    entries, origin = arranged.entries, "made"
    if entries or not any(check.severity == "error" for check in checks):
        checks += check_classes(arranged.classes, arranged.entries, arranged.target, contract)
    if entries:
        compared = any(entry.alike for entry in entries)
        splits = complete(with_kin(entries, _sketches(intake, entries)) if compared else entries, contract)
        entries, origin = with_leaks(splits.entries) if compared else splits.entries, splits.origin
        filled = {name for entry in entries for name in entry.names}
        checks += [*contract.check_files(intake.examples), *splits.checks]
        checks += contract.check_auxiliary(intake.auxiliary, entries)
        checks += check_entries(entries, [label for label in arranged.classes if label in filled], contract)
    if any(check.severity == "error" for check in checks):
        raise DatasetUnusable(checks)
    return Assembled(contract, ordered(entries), arranged.classes, arranged.target, origin, checks)


def _sketches(intake: Intake, entries: Sequence[ManifestEntry]) -> Sketches | None:
    """Return the sketches of the entries; None: their task makes none."""
    if intake.rows is not None:
        return intake.rows.sketches
    sketches = {example.sha256: example.sketch for example in intake.examples}
    joined = b"".join(sketches[entry.sha256] for entry in entries)
    return np.frombuffer(joined, np.uint32).reshape(len(entries), -1) if joined else None


def _check_undecodable(intake: Intake, arranged: Layout, undecodable: Undecodable) -> Iterator[Check]:
    contract, found = intake.contract, intake.rows.undecodable if intake.rows is not None else None
    if found is None and arranged.undecodable:
        found = Check("undecodable", "error", "", sorted(arranged.undecodable), arranged.undecodable)
    if found is None:
        return
    count, first = found.count, found.files[0]
    what = counted(count, f"{contract.example} can't be decoded", f"{contract.examples} can't be decoded")
    named = f"{first}: {found.reasons[str(first)]}" + ("" if count == 1 else " …")
    if undecodable == "refuse":
        message = f"{what} ({named}); repair or remove {inflected(count, 'it', 'them')}, or ask for undecodable=skip"
        yield replace(found, severity="error", message=message)
    else:
        message = f"{what} ({named}); {inflected(count, 'it was', 'they were')} left out"
        yield replace(found, severity="warning", message=message)


def _check_others(intake: Intake) -> Iterator[Check]:
    """Name what the archive holds besides examples, and how its names and links were read."""
    if intake.ignored:
        example, examples = intake.contract.example, intake.contract.examples
        one, many = f"file is no {example}, and was passed over", f"files are no {examples}, and were passed over"
        yield Check("ignored_files", "info", counted(len(intake.ignored), one, many), sorted(intake.ignored))
    if intake.links.targets:
        yield check_links(intake.links.targets, copies=len(intake.links.files))
    if intake.names.guessed:
        message = (
            f"names in the zip are not UTF-8 and were read as {intake.names.guessed}, as in {intake.names.example!r}; "
            f"if that is wrong, send `names=` with another of {', '.join(get_args(NameEncoding)[1:])}"
        )
        yield Check("names_guessed", "warning", message, [intake.names.example])
    if intake.of_systems:
        one, many = "file was left by a system or a tool, and", "files were left by a system or a tool, and"
        message = f"{counted(len(intake.of_systems), f'{one} was', f'{many} were')} passed over"
        yield Check("system_files", "info", message, sorted(intake.of_systems))


def card_of(assembled: Assembled, intake: Intake) -> dict[str, Any]:
    """Return what describes the dataset."""
    entries, contract = assembled.entries, assembled.contract
    kept = _kept(assembled, intake)
    by_split = Counter(entry.split for entry in entries)
    card: dict[str, Any] = {
        "examples": contract.examples,
        "target": assembled.target,
        "classes": assembled.classes,
        "counts": counts(entries, assembled.classes),
        "images": len(entries),  # of any task: so it was named when there were images alone
        "splits": {split: by_split[split] for split in SPLITS},
        "train_count": by_split["train"],
        "size_bytes": sum(each.size_bytes for each in kept) if intake.rows is None else intake.rows.spool.size_bytes,
        "split": assembled.origin,
        "grouped": any(entry.group for entry in entries),
        "undecodable_skipped": sum(check.count for check in assembled.checks if check.check == "undecodable"),
        "leaked": leaks(entries),
        **contract.card_facts(kept, entries),
    }
    if intake.auxiliary:
        card["auxiliary"] = members_of(intake.auxiliary)
    values = [entry.value for entry in entries if entry.value is not None]
    if values:
        facts = {"minimum": min(values), "maximum": max(values), "mean": statistics.fmean(values)}
        card["values"] = facts | {"deviation": statistics.pstdev(values)}
    return card


def _kept(assembled: Assembled, intake: Intake) -> list[Example]:
    """Return one file of each content in the dataset; none where its examples are rows."""
    if intake.rows is not None:
        return []
    by_content = {example.sha256: example for example in intake.examples}
    return [by_content[content] for content in {entry.sha256 for entry in assembled.entries}]
