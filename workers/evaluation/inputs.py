"""Section of a report's page about inputs: what was noted of them, accuracy by length, and features that weigh most."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from workers.evaluation.tables import cell, table, text

MOST_LABELS, MOST_FEATURES = 50, 20


def section(split: Mapping[str, Any], *, examples: str) -> str:
    """Return what is known of a split's inputs; nothing where that is nothing. `examples` is their word."""
    return _notes(split["input_notes"] or {}) + _by_length(split["by_length"], examples)


def features(found: Iterable[Mapping[str, Any]]) -> str:
    """Return one row for each class or label, with what speaks most for it."""
    rows = []
    for label, of_label in groupby(found, key=lambda each: each["label"]):
        parts = [f"{text(each['feature'])}&nbsp;<small>{each['weight']:+.2f}</small>" for each in of_label]
        rows.append([cell(label), " · ".join(parts[:MOST_FEATURES])])
    return table(["for", "weight of each, added to the logit"], rows[:MOST_LABELS], numbers=0)


def _notes(noted: Mapping[str, float]) -> str:
    if not noted:
        return ""
    said = "; ".join(f"{name.replace('_', ' ')}: {share:.2%}" for name, share in noted.items())
    return f"<p>{text(said)}.</p>"


def _by_length(found: Mapping[str, Any] | None, examples: str) -> str:
    if found is None or len(found["bands"]) < 2:  # noqa: PLR2004  one band is the split itself
        return ""
    figure = found["figure"]
    rows = [
        [f"{band['from']:,} to {band['to']:,}", f"{band['count']:,}", cell(band[figure])] for band in found["bands"]
    ]
    return table([found["unit"], examples, figure], rows, numbers=2)
