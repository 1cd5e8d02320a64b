"""Pages that are written from the code: docs/spec.md, docs/settings.md. Run `python -m models_store.pages`."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models_store.settings import Settings
from models_store.tasks.rooms import TASKS
from models_store.wording import inflected

DOCS = Path(__file__).resolve().parent.parent / "docs"

HEADING = """# The training spec

What `POST /train` takes. This page is written from the schema that the service checks against (`make generated`); the
same schema is at `GET /schema/train`. Unknown keys are refused, and the nearest valid one is named. `?dry_run=true`
answers with the spec in which every default is filled in.
"""

SETTINGS_HEADING = """# Settings

Each is an environment variable of the API and of the worker; the database, blobs and broker must be the same for both.
Traces have OpenTelemetry's own variables, see [observability.md](observability.md). This page is written from
`models_store/settings.py` (`make generated`).

| variable | default | what |
|---|---|---|
"""

RANGES = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {} {items}",
    "maxItems": "at most {} {items}",
    "pattern": "`{}`",
}

Schema = dict[str, Any]


def spec_page() -> str:
    """Return docs/spec.md."""
    sections = [HEADING]
    for task in TASKS:
        schema = task.Spec.model_json_schema()
        sections += [*_parts_table(schema), *_section("The whole", schema, schema)]
        reported: set[str] = set()
        for family, field in schema["properties"].items():
            for name in [each for each in _parts(field, schema) if each not in reported]:
                reported.add(name)
                sections += _section(f"{family}: {_title(schema['$defs'][name], name)}", schema["$defs"][name], schema)
    return "\n".join(sections)


def settings_page() -> str:
    """Return docs/settings.md."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in {"", None} else f"`{field.default}`"
        rows.append(f"| `{name.upper()}` | {default} | {_cell(field.description or '')} |")
    return SETTINGS_HEADING + "\n".join(rows) + "\n"


def _parts(field: Schema, root: Schema) -> Iterator[str]:
    """Yield the names of the definitions that a field leads to, and those that they lead to in turn."""
    found: dict[str, None] = {}
    _collect(field, found, root)
    yield from found


def _collect(node: Any, found: dict[str, None], root: Schema) -> None:  # noqa: ANN401  any JSON
    if isinstance(node, dict):
        reference = node.get("$ref", "").rpartition("/")[2]
        if reference and reference not in found:
            found[reference] = None
            definition = root["$defs"][reference]
            _collect(definition.get("properties", {}), found, root)
        for key, value in node.items():
            if key not in {"discriminator", "default"}:
                _collect(value, found, root)
    elif isinstance(node, list):
        for value in node:
            _collect(value, found, root)


def _parts_table(schema: Schema) -> list[str]:
    """Return one table of every part that has a `kind`, family by family, with the ranges of its fields."""
    lines = [
        "## All parts",
        "",
        "What can be asked for, by the field of the spec that takes it. Each is described further down.",
        "",
        "| field | kind | what | takes (default) |",
        "|---|---|---|---|",
    ]
    for family, field in schema["properties"].items():
        for name in _members(field):
            part = schema["$defs"][name]
            takes = "; ".join(
                f"`{key}` {_takes(inner, schema)} ({_code(inner.get('default', 'required'))})"
                for key, inner in part["properties"].items()
                if key != "kind"
            )
            summary = part.get("description", "").partition("\n")[0]
            lines.append(f"| `{family}` | {_title(part, name)} | {_cell(summary)} | {_cell(takes)} |")
    return [*lines, ""]


def _members(field: Schema) -> list[str]:
    """Return the definitions that a union by `kind` chooses from, in a field, its items or beside null."""
    found = []
    for node in [field, field.get("items", {}), *field.get("anyOf", [])]:
        for inner in (node, node.get("items", {})):
            references = inner.get("discriminator", {}).get("mapping", {}).values()
            found += [reference.rpartition("/")[2] for reference in references]
    return list(dict.fromkeys(found))


def _section(title: str, part: Schema, root: Schema) -> list[str]:
    lines = [
        f"## {title}",
        "",
        part.get("description", ""),
        "",
        "| field | takes | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in part.get("properties", {}).items():
        default = "required" if name in part.get("required", []) else _code(field.get("default", []))
        meaning = field.get("description", "which part this is" if name == "kind" else "")
        lines.append(f"| `{name}` | {_cell(_takes(field, root))} | {_cell(default)} | {_cell(meaning)} |")
    return [*lines, ""]


def _takes(field: Schema, root: Schema) -> str:
    """Return the type and the range of a field."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _title(root["$defs"][name], name)
    options = field.get("oneOf") or field.get("anyOf")
    if options:
        return " or ".join(dict.fromkeys(_takes(option, root) for option in options))
    if "const" in field:
        return _code(field["const"])
    if "enum" in field:
        return ", ".join(_code(choice) for choice in field["enum"])
    kind = f"list of {_takes(field['items'], root)}" if field.get("type") == "array" else str(field.get("type", "any"))
    limits = [
        form.format(_number(field[key]), items=inflected(field[key], "item"))
        for key, form in RANGES.items()
        if key in field
    ]
    return ", ".join([kind, *limits])


def _title(definition: Schema, name: str) -> str:
    """Return the `kind` that names a part in a spec, or its class's name."""
    kind = definition.get("properties", {}).get("kind", {})
    kinds = [kind["const"]] if "const" in kind else kind.get("enum", [])
    return ", ".join(f"`{each}`" for each in kinds) or name


def _number(value: Any) -> str:  # noqa: ANN401  any JSON
    return f"{value:,}" if isinstance(value, int) else str(value)


def _code(value: Any) -> str:  # noqa: ANN401  any JSON
    if isinstance(value, dict):
        chosen = {key: inner for key, inner in value.items() if key == "kind"}
        return f"`{json.dumps(chosen or value)}`" + (" with its defaults" if chosen else "")
    return f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    """Write the pages, or tell which are stale."""
    parser = argparse.ArgumentParser(description="write docs/spec.md and docs/settings.md from the code")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="write the pages")
    what.add_argument("--check", action="store_true", help="exit 1 when a page is stale")
    writing = parser.parse_args().write
    stale = False
    for name, page in {"spec.md": spec_page, "settings.md": settings_page}.items():
        target, fresh = DOCS / name, page()
        if writing:
            target.write_text(fresh)
        elif not target.exists() or target.read_text() != fresh:
            stale = True
            print(f"docs/{name} is stale: run `make generated`", file=sys.stderr)  # noqa: T201  a command speaks
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
