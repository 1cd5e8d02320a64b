"""A report as one HTML page that needs nothing from outside: no script, no font, no file beside it."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from models_store.tasks.rooms import contract_of
from models_store.wording import counted
from workers.evaluation import inputs, variants
from workers.evaluation.pictures.canvas import Picture, inline
from workers.evaluation.tables import cell, table, text

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c21; --paper: #ffffff; --soft: #f4f4f6; --line: #d8d8de;
  --faint: #63636b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ec; --paper: #17171a; --soft: #212126; --line: #3a3a42; --faint: #a2a2ab; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .4rem 0; } .faint, figcaption small, td small { color: var(--faint); }
.warning { padding: .5rem .75rem; border-left: .25rem solid #c77700; background: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .75rem 0; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td.number, th.number { text-align: right; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; padding: .75rem; background: var(--soft); border-radius: .5rem; max-width: 100%;
  box-sizing: border-box; }
figure svg, figure img { max-width: 100%; height: auto; display: block; }
figure img { border-radius: .25rem; }
td.text { min-width: 20rem; white-space: pre-wrap; overflow-wrap: anywhere; }
figcaption { max-width: 40rem; margin-bottom: .4rem; } figcaption b { display: block; }
"""
NAMES = {"val": "Validation split", "test": "Test split"}
MOST_ROWS = 100


def page(report: dict[str, Any], pictures: Sequence[Picture]) -> str:
    """Return the page of a report and its pictures; every text in it is escaped."""
    splits = report["splits"]
    parts = [
        f"<h1>{text(report['model'])}</h1>",
        f'<p class="faint">{text(_facts(report))}</p>',
        *(f'<p class="warning">{text(warning)}</p>' for warning in report["warnings"]),
        "<h2>Headline</h2>",
        _headline(splits),
        *(f'<p class="faint">{text(note)}</p>' for note in report["notes"]),
    ]
    files = [each for each in pictures if each.name.startswith("forms-")]
    general = [each for each in pictures if each.name.partition("-")[0] not in {*splits, "forms"}]
    if general:
        parts += ["<h2>Training</h2>", _figures(general)]
    for split in reversed(list(splits)):
        own = [each for each in pictures if each.name.startswith(f"{split}-")]
        section = splits[split]
        parts += [f"<h2>{text(NAMES.get(split, split))}</h2>", _leaks(section), _undefined(section), _views(section)]
        parts += [_figures(own), inputs.section(section, examples=contract_of(report["task"]).examples)]
        parts.append(_mistakes(section.get("mistakes") or []))
    if report["features"]:
        parts += ["<h2>What weighs most</h2>", inputs.features(report["features"])]
    if report["forms"]:
        # the PNG of the same is for use elsewhere
        drawn = {
            each.name.removeprefix("forms-").removesuffix(".svg"): _figure(each)
            for each in files
            if each.name.endswith(".svg")
        }
        parts += ["<h2>Files</h2>", variants.section(report, drawn)]
    body = "\n".join(part for part in parts if part)
    title = text(f"{report['model']}: report")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _facts(report: dict[str, Any]) -> str:
    examples = contract_of(report["task"]).examples
    counts = ", ".join(f"{section['images']} in {split}" for split, section in report["splits"].items())
    classes = counted(len(report["classes"]), "class or label", "classes or labels") if report["classes"] else None
    origin = (report["job"], report["task"], report["backbone"], report["dataset"])
    return " · ".join(each for each in (*origin, f"{examples}: {counts}", classes) if each is not None)


def _headline(splits: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for section in splits.values() for name in section["headline"]))
    rows = [[text(name.replace("_", " ")), *(_with_interval(each, name) for each in splits.values())] for name in names]
    return table(["", *(NAMES.get(split, split) for split in splits)], rows, numbers=len(splits))


def _with_interval(section: dict[str, Any], name: str) -> str:
    value = section.get(name)
    if value is None:
        return f"<small>{text(section['undefined'].get(name, 'not there'))}</small>"
    found = section["intervals"].get(name)
    interval = f" <small>[{found['low']:.4g}, {found['high']:.4g}]</small>" if found else ""
    return f"{value:.4g}{interval}"


def _undefined(section: dict[str, Any]) -> str:
    absent = [row["label"] for row in section.get("per_class") or () if row["undefined"]]
    if not absent:
        return ""
    more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""  # noqa: PLR2004  as cut below
    return (
        f'<p class="faint">Without figures, because there are no examples: {text(", ".join(absent[:10]) + more)}.</p>'
    )


def _leaks(section: dict[str, Any]) -> str:
    """Return the headline of all examples, of those without a copy in train, and of those with one."""
    leaks = section.get("leaks")
    if leaks is None:
        return ""
    parts = {"all": section, "clean": leaks["clean"]["figures"], "leaked": leaks["leaked"]["figures"]}
    counts = {"all": section["images"], "clean": leaks["clean"]["images"], "leaked": leaks["leaked"]["images"]}
    rows = [
        [text(name.replace("_", " ")), *(_number(part.get(name)) for part in parts.values())]
        for name in section["headline"]
    ]
    headings = ["", *(f"{name} ({counts[name]})" for name in parts)]
    meaning = "Leaked examples have a copy in the train split: judge by the clean ones, which new examples are like."
    return f"<p>{meaning}</p>{table(headings, rows, numbers=len(parts))}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _views(section: dict[str, Any]) -> str:
    """Return what averaging over changed copies would gain, where that was asked for."""
    averaged = section["test_time_augmentation"]
    if averaged is None:
        return ""
    reported = ", ".join(
        f"{name.replace('_', ' ')} {averaged['figures'][name]:.4g} ({gain:+.2g})"
        for name, gain in averaged["gain"].items()
    )
    return f"<p>Averaged over {averaged['views']} changed copies of each example: {text(reported)}.</p>"


def _figures(pictures: Iterable[Picture]) -> str:
    return '<div class="pictures">' + "\n".join(_figure(each) for each in pictures) + "</div>"


def _figure(picture: Picture) -> str:
    caption = f"<figcaption><b>{text(picture.title)}</b><small>{text(picture.text)}</small></figcaption>"
    if picture.name.endswith(".svg"):
        return f"<figure>{caption}{inline(picture.content)}</figure>"
    data = base64.b64encode(picture.content).decode()
    return f'<figure>{caption}<img alt="{text(picture.text)}" src="data:image/png;base64,{data}"></figure>'


def _mistakes(mistakes: Sequence[dict[str, Any]]) -> str:
    if not mistakes:
        return ""
    columns = list(mistakes[0])
    rows = [[cell(each[column]) for column in columns] for each in mistakes[:MOST_ROWS]]
    numbers = sum(isinstance(mistakes[0][column], float) for column in columns)
    return table(columns, rows, numbers=numbers, long=["text"])
