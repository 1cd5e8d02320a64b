"""Tables of a version's variants: how they were made, their accuracy, speed and size, and reasons for refusals."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape

from models_store.wording import counted
from service.cli.output import NOTHING
from service.cli.tables import Sheet, facts, sheet

Document = dict[str, Any]

DISTINGUISHING = (
    "ratio", "target_speedup", "n", "m", "calibration", "layers", "block_size", "target_size_bytes", "epochs", "keep",
)  # fmt: skip
"""fields of a part of the spec that distinguish ways of making a variant"""
ACCURACY = ("variant", "on", "made by", "val", "test", "drop", "95 % interval", "agrees", "accepted")
FAST = ("ms p50", "p95", "speedup", "95 %", "img/s at 1", "at 8", "at 32")
SPEED = ("variant", "on", *FAST, "ms load", "MB file", "packed", "memory")
SIZE_ONLY = "whether it saves size only"


def version_card(version: Document) -> RenderableType:
    """Return everything that was measured of a version's variants, a line for each provider."""
    lines = list(_lines(version))
    providers = dict.fromkeys(provider for _, provider, _ in lines if provider != NOTHING)
    heading = f"{version['model']}:{version['version']}"
    if version["compressed_from"] is not None:
        heading += f", compressed from {version['compressed_from']}"
    where = f" on {_measuring_host(version, *providers)}" if len(providers) == 1 else ""
    accuracy = [_accuracy(variant, provider, measured, version) for variant, provider, measured in lines]
    speed = [_speed(variant, provider, measured, version) for variant, provider, measured in lines]
    is_distinguishing = len(providers) > 1
    parts: list[RenderableType] = [
        _table(
            f"{heading} · accuracy of the exported files", ACCURACY, accuracy, left=3, tells_provider=is_distinguishing
        ),
        _table(f"Speed of one thread{where}, and size", SPEED, speed, left=2, tells_provider=is_distinguishing),
    ]
    return Group(*parts, *_refusals(lines, version["not_made"]))


def change_table(result: Document) -> Sheet:
    """Return what a measuring job has replaced, a line for each variant and provider."""
    rows = []
    for each in result["measured"]:
        before, after = each["before"] or {}, each["after"]
        pairs = (
            (_number((figures.get("latency_ms") or {}).get("p50"), ".2f") for figures in (before, after)),
            (_number(figures.get("speedup"), ".2f", "x") for figures in (before, after)),
            (_yes(figures.get("accepted")) for figures in (before, after)),
        )
        rows.append((each["variant"], each["provider"], *(" → ".join(pair) for pair in pairs)))
    defaults = result["defaults"]
    moved = ", ".join(
        f"{provider}: {defaults['before'].get(provider, NOTHING)} → {variant}"
        for provider, variant in defaults["after"].items()
    )
    columns = ("variant", "on", "ms p50", "speedup", "accepted")
    return sheet(f"Measured again · default on {moved}", columns, rows, right=columns[2:4], keys=2)


def _lines(version: Document) -> Iterator[tuple[Document, str, Document]]:
    """Yield each variant with each provider on which it was measured, the slowest first, those without figures last."""

    def speed(variant: Document) -> float:
        return min((each["speedup"] for each in variant["measured"].values() if each.get("speedup")), default=math.inf)

    for variant in sorted(version["variants"], key=speed):
        for provider, measured in variant["measured"].items():
            yield variant, provider, measured
        if not variant["measured"]:
            yield variant, NOTHING, {}


def _measuring_host(version: Document, provider: str) -> str:
    hosts = [each["measured"][provider].get("host") for each in version["variants"] if provider in each["measured"]]
    device = next((host["device"] for host in hosts if host), None)
    return f"{provider} ({escape(device)})" if device else provider


def _table(title: str, columns: tuple[str, ...], rows: list[list[str]], *, left: int, tells_provider: bool) -> Sheet:
    """Return the table; where all was measured on one provider, without the column that names it in each line."""
    kept = [number for number, name in enumerate(columns) if name != "on" or tells_provider]
    right = tuple(columns[number] for number in kept if number >= left and columns[number] != "accepted")
    shown = [[row[number] for number in kept] for row in rows]
    keys = 2 if tells_provider else 1
    return sheet(title, [columns[number] for number in kept], shown, right=right, prose=("made by",), keys=keys)


def _accuracy(variant: Document, provider: str, measured: Document, version: Document) -> list[str]:
    accuracy = measured.get("accuracy") or {}
    return [
        variant["name"],
        provider,
        _made_by(variant),
        _number(accuracy.get("val"), ".4f"),
        _number(accuracy.get("test"), ".4f"),
        _number(measured.get("accuracy_drop"), "+.4f"),
        _interval(measured.get("accuracy_drop_interval"), "+.4f"),
        _number(measured.get("agreement"), ".4f"),
        _verdict(variant, provider, measured, version),
    ]


def _speed(variant: Document, provider: str, measured: Document, _version: Document) -> list[str]:
    latency, throughput = measured.get("latency_ms") or {}, measured.get("throughput") or {}
    return [
        variant["name"],
        provider,
        _number(latency.get("p50"), ".2f"),
        _number(latency.get("p95"), ".2f"),
        _number(measured.get("speedup"), ".2f", "x"),
        _interval(measured.get("speedup_interval"), ".2f"),
        *(_number(throughput.get(batch), ".0f") for batch in ("1", "8", "32")),
        _number(measured.get("load_ms"), ".0f"),
        *(_megabytes(file) for file in (variant["size_bytes"], variant.get("compressed_bytes"))),
        _megabytes(measured.get("peak_memory_bytes")),
    ]


def _verdict(variant: Document, provider: str, measured: Document, version: Document) -> str:
    if not measured:
        return "for use elsewhere" if variant["standalone"] else "not measured"
    if version["defaults"].get(provider) == variant["name"]:
        return "[bold green]default"
    if measured.get("unmeasurable"):
        return "missing"
    return "size only" if variant.get("size_only") and not measured["accepted"] else _yes(measured["accepted"])


def _refusals(lines: list[tuple[Document, str, Document]], not_made: Mapping[str, str]) -> list[RenderableType]:
    """Return why variants were not accepted, and why others could not be made."""
    variants = {variant["name"]: variant for variant, _, _ in lines}.values()
    reported = [
        (f"{variant['name']} on {provider}", reason)
        for variant, provider, measured in lines
        for reason in ([measured["unmeasurable"]] if measured.get("unmeasurable") else measured.get("reasons", []))
    ]
    reported += [
        (f"{variant['name']}: size only", SIZE_ONLY)
        for variant in variants
        if variant.get("size_only") and not any(each.get("accepted") for each in variant["measured"].values())
    ]
    parts = [("Not accepted, with reasons", reported), ("Not made, with reasons", list(not_made.items()))]
    return [facts(title, [(escape(name), escape(why)) for name, why in rows]) for title, rows in parts if rows]


def _made_by(variant: Document) -> str:
    """Return the way of making and what matters of it: `static_int8 of pruned, calibration entropy`."""
    part, parent = variant.get("made_by"), variant.get("parent")
    if part is None:
        return "training" if parent is None else f"of {escape(parent)}"
    of = f" of {escape(parent)}" if parent not in {None, "fp32"} else ""
    facts = [_described(name, part[name]) for name in DISTINGUISHING if part.get(name) is not None]
    made = f"{part['kind']}{of}" if "kind" in part else variant["name"]  # the control is made by a recovery, of no kind
    return escape(", ".join([made, *facts]))


def _described(name: str, value: Any) -> str:  # noqa: ANN401  any JSON
    return counted(value, "epoch") if name == "epochs" else f"{name} {value}"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return NOTHING if value is None else f"{value:{form}}{unit}"


def _megabytes(size_bytes: int | None) -> str:
    if size_bytes is None:
        return NOTHING
    size_mb = size_bytes / 1e6
    return f"{size_mb:.2f}" if size_mb < 10 else f"{size_mb:.1f}" if size_mb < 100 else f"{size_mb:.0f}"  # noqa: PLR2004  three digits


def _interval(ends: list[float] | None, form: str) -> str:
    return NOTHING if ends is None else " … ".join(f"{end:{form}}" for end in ends)


def _yes(accepted: bool | None) -> str:  # noqa: FBT001  a figure
    return NOTHING if accepted is None else "yes" if accepted else "no"
