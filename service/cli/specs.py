"""Specs from files and standard input, with values overridden by the command line."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from models_store.json_rules import DuplicateKey, no_constant, unique_keys
from service.cli.session import existing, refuse

Document = dict[str, Any]

LISTS: dict[str, list[Document]] = {"augmentation": [], "regularizers": [], "quantize": [{"kind": "static_int8"}]}
"""Fields with a list of parts, and the list with which `--set` begins if the spec has none."""

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="e.g. training.epochs=5, optimizer.kind=sgd, augmentation.0.degrees=10, "
        """'compression.quantize=[{"kind":"fp16"}]'; a list that is not there begins with its default""",
    ),
]


def read(path: Path) -> Document:
    """Return the JSON object in a file; `-` is standard input.

    Raises:
        typer.Exit: if there is none.
    """
    text = sys.stdin.read() if str(path) == "-" else existing(path).read_text()
    try:
        document = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise refuse(f"{path}: this is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise refuse(f"{path}: a spec is a JSON object")
    return document


def override(document: Document, given: str) -> None:
    """Set one value. A path goes through objects by key and through lists by position; a value is JSON, otherwise text.

    A missing list begins with its default; a part at the next position of a list is appended.

    Raises:
        typer.Exit: if there is no such place.
    """
    path, equals, text = given.partition("=")
    *above, last = path.split(".")
    if not equals or not all([*above, last]):
        raise refuse(f"--set {given}: give PATH=VALUE, such as training.epochs=5")
    here: Any = document
    try:
        for step in above:
            here = here[_place(here, step)] if isinstance(here, list) else here.setdefault(step, _made(step))
        here[_place(here, last) if isinstance(here, list) else last] = _value(text)
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise refuse(f"--set {given}: there is no such place in the spec") from error


def _made(field: str) -> Any:  # noqa: ANN401  any JSON
    return [dict(part) for part in LISTS[field]] if field in LISTS else {}


def _place(here: list[Any], step: str) -> int:
    """Return a position in a list; the one after its end is made."""
    if int(step) == len(here):
        here.append({})
    return int(step)


def _value(text: str) -> Any:  # noqa: ANN401  any JSON
    try:
        return _parsed(text)
    except DuplicateKey as error:
        raise refuse(f"--set: {error}") from error
    except (ValueError, RecursionError):
        return text


def _parsed(text: str) -> Any:  # noqa: ANN401  any JSON
    return json.loads(text, object_pairs_hook=unique_keys, parse_constant=no_constant)
