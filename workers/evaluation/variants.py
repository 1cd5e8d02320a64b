"""A report's part on the variants of the net: what was measured on each file, what the gate said, how each was made.

A figure is of a provider: the same file is fast on one and slow on another, and is judged where it was measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models_store.models.providers import Provider
from models_store.models.variant_card import VariantCard
from models_store.wording import counted
from workers.evaluation.pictures.canvas import Picture
from workers.evaluation.pictures.variants import Point, Standing, megabytes, pareto
from workers.evaluation.tables import table, text

Figures = Mapping[str, Any]

COLUMNS = (
    "variant", "verdict", "validation", "test", "lost on validation", "agrees with fp32", "p50 ms", "p95 ms",
    "times fp32", "times its parent", "examples/s, 1", "8", "32", "file", "compressed", "load ms", "peak memory",
)  # fmt: skip
FIGURES = 15  # of the columns are numbers
READING = (
    "Each file was measured by onnxruntime, in turns with fp32, after a warm-up. Accuracy is judged on the "
    "validation split, by which variants were chosen; the test split shows how good the choice is. In brackets: 95 % "
    "intervals, for the loss of accuracy over the same examples answered by both, for the speedup over the rounds. A "
    "variant is accepted if the upper end of its loss's interval is within the limit of the spec (with few examples it "
    "never is), and it is faster than fp32 and than the variant from which it was made, by more than the noise (with "
    "the objectives size and accuracy: not slower; with size, its file is smaller than fp32's). The spec's objective "
    "picks the default among the accepted variants."
)


def pictures(cards: Mapping[str, Any], *, defaults: Mapping[str, str], metric: str) -> list[Picture]:
    """Return accuracy against latency for each provider, as SVG and as PNG; `cards` are as rows store them."""
    variants, made = _read(cards), list[Picture]()
    for provider in providers(variants):
        figures = measured_on(provider, variants)
        split = "test" if all(each["accuracy"].get("test") is not None for each in figures.values()) else "val"
        points = [
            Point(
                name,
                each["accuracy"][split],
                each["latency_ms"]["p50"],
                variants[name].size_bytes or 0,
                _standing(name, each, default=defaults.get(provider)),
            )
            for name, each in figures.items()
            if each["accuracy"].get(split) is not None
        ]
        made += pareto(points, provider=provider, split=split, metric=metric)
    return made


def section(report: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    """Return the page's part on the variants; `drawn` has the elements of the pictures, by provider."""
    variants, defaults = _read(report["forms"]), report["defaults"]
    parts = [f'<p class="faint">{text(READING)}</p>']
    for provider in providers(variants):
        parts += [f"<h3>{text(provider)}</h3>", f'<p class="faint">{text(_host(measured_on(provider, variants)))}</p>']
        parts.append(drawn.get(provider, ""))
        parts.append(_figures(variants, provider, default=defaults.get(provider)))
        parts += [f"<p>{text(line)}</p>" for line in [_beside_control(measured_on(provider, variants))] if line]
    parts += ["<h3>How they were made</h3>", _making(variants)]
    if report["not_made"]:
        rows = [[text(name), text(why)] for name, why in report["not_made"].items()]
        parts += ["<h3>What could not be made</h3>", table(["variant", "why"], rows, numbers=0)]
    return "\n".join(parts)


def _read(cards: Mapping[str, Any]) -> dict[str, VariantCard]:
    return {name: VariantCard.of_document(card) for name, card in cards.items()}


def providers(variants: Mapping[str, VariantCard]) -> list[Provider]:
    """Return the providers that any variant was measured on."""
    return list(dict.fromkeys(name for card in variants.values() for name in card.measured))


def measured_on(provider: Provider, variants: Mapping[str, VariantCard]) -> dict[str, Figures]:
    """Return variant → figures of those that ran on the provider."""
    return {name: card.measured[provider] for name, card in variants.items() if card.runs_on(provider)}


def _standing(name: str, figures: Figures, *, default: str | None) -> Standing:
    if name == default:
        return "default"
    return "accepted" if figures["accepted"] else "refused"


def _host(figures: Mapping[str, Figures]) -> str:
    """Return where the figures are from; the variants of one job were measured together."""
    first = next(iter(figures.values()), None)
    if first is None:
        return "No variant could be measured here."
    host = first["host"]
    features = f" ({', '.join(host['features'])})" if host["features"] else ""
    threads = counted(first["threads"], "thread")
    return (
        f"{host['device']}{features}, onnxruntime {host['onnxruntime']}, {first['provider']}, {threads}, "
        f"{first['measured_at']}"
    )


def _figures(variants: Mapping[str, VariantCard], provider: Provider, *, default: str | None) -> str:
    rows = []
    for name, card in variants.items():
        figures = card.measured.get(provider)
        if figures is None:
            continue
        if "unmeasurable" in figures:
            verdict = _with_reasons("can't run here", [figures["unmeasurable"]])
            rows.append([text(name), verdict, *[""] * 11, *_sizes(card), "", ""])
            continue
        standing = _standing(name, figures, default=default)
        size_only = ", size only" if card.size_only else ""
        throughput, accuracy = figures["throughput"], figures["accuracy"]
        is_baseline = card.parent is None
        rows.append(
            [
                text(name),
                _with_reasons(standing + size_only, figures["reasons"]),
                _number(accuracy.get("val"), ".4f"),
                _number(accuracy.get("test"), ".4f"),
                _number(
                    None if is_baseline else figures["accuracy_drop"], ".4f", within=figures["accuracy_drop_interval"]
                ),
                _number(figures["agreement"], ".4f"),
                _number(figures["latency_ms"]["p50"], ".3g"),
                _number(figures["latency_ms"]["p95"], ".3g"),
                _number(figures["speedup"], ".2f", within=None if is_baseline else figures["speedup_interval"]),
                _number(figures.get("parent_speedup"), ".2f", within=figures.get("parent_speedup_interval")),
                *(_number(throughput.get(batch), ",.0f") for batch in ("1", "8", "32")),
                *_sizes(card),
                _number(figures.get("load_ms"), ",.0f"),
                text(megabytes(figures["peak_memory_bytes"])) if figures.get("peak_memory_bytes") else "",
            ]
        )
    return table(COLUMNS, rows, numbers=FIGURES)


def _with_reasons(verdict: str, reasons: Iterable[str]) -> str:
    return text(verdict) + "".join(f"<br><small>{text(reason)}</small>" for reason in reasons)


def _sizes(card: VariantCard) -> list[str]:
    return [text(megabytes(size)) if size else "" for size in (card.size_bytes, card.compressed_bytes)]


def _number(value: float | None, pattern: str, *, within: Sequence[float | None] | None = None) -> str:
    if value is None:
        return ""
    reported = format(value, pattern)
    if within is None or None in within:
        return reported
    low, high = (format(end, pattern) for end in within)
    return f"{reported} <small>[{low}, {high}]</small>"


def _beside_control(figures: Mapping[str, Figures]) -> str:
    """Return what the cut has cost against the net that was trained as long without one."""
    if not {"pruned", "control"} <= figures.keys():
        return ""
    splits = [split for split in ("val", "test") if figures["pruned"]["accuracy"].get(split) is not None]
    reported = ", ".join(
        f"{figures['pruned']['accuracy'][split]:.4f} against {figures['control']['accuracy'][split]:.4f} on {split}"
        for split in splits
    )
    return f"The pruned net compared with the control, the unpruned net after the same further training: {reported}."


def _making(variants: Mapping[str, VariantCard]) -> str:
    rows = [
        [
            text(name),
            text(card.parent or "the trained net"),
            _listed(card.made_by or {}),
            _listed(_facts_of_its_own(name, variants)),
        ]
        for name, card in variants.items()
    ]
    return table(["variant", "made of", "by", "facts"], rows, numbers=0)


def _facts_of_its_own(name: str, variants: Mapping[str, VariantCard]) -> dict[str, Any]:
    """Return what the card says beyond the figures, without what the variant has from its parent or from the spec."""
    card = variants[name]
    parent = variants.get(card.parent or "")
    known = {**(parent.facts if parent else {}), **(card.made_by or {})}
    temperature = card.facts.get("temperature")  # its other keys say how it was found
    facts = {key: value for key, value in card.facts.items() if key != "temperature" and known.get(key) != value}
    return facts | ({"temperature": temperature["value"]} if temperature else {})


def _listed(facts: Mapping[str, Any]) -> str:
    return "<br>".join(text(f"{name} {words}") for name, words in reported(facts))


def reported(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return facts in words: a line for each, what was before a change and after it in one."""
    lines: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = key.replace("_", " ")
        stem = key.removesuffix("_after")
        if key.endswith("_before") and f"{key.removesuffix('_before')}_after" in facts:
            continue
        if stem != key and f"{stem}_before" in facts:
            lines.append((stem.replace("_", " "), _change(facts[f"{stem}_before"], value)))
        elif value is not None:
            lines.append((f"{name}:" if isinstance(value, Mapping) else name, _word(value)))
    return lines


def _change(before: Any, after: Any) -> str:  # noqa: ANN401  any JSON
    numbers = isinstance(before, int | float) and isinstance(after, int | float) and before
    share = f" ({after / before - 1:+.0%})" if numbers else ""
    return f"{_word(before)} → {_word(after)}{share}"


def _word(value: Any) -> str:  # noqa: ANN401  any JSON
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words}" for name, words in reported(value))
    if isinstance(value, list):
        return ("; " if value and isinstance(value[0], Mapping) else ", ").join(map(_word, value)) or "none"
    return str(value)
