"""Explanations of pydantic's errors: the given value, its place, and what is allowed, from the JSON Schema that users see."""

import json
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

from models_store.spec import synonyms
from models_store.spec.part import words_of
from models_store.spec.patterns import not_matching
from models_store.spec.schema_walk import (
    Place,
    Schema,
    choices,
    forms,
    given_at,
    kinds_of,
    kinds_with,
    limits,
    opened,
    schema_of,
    walk,
)
from models_store.spec.suggestions import LONGEST_NAME, advice_on_key, alike, home_of, kind_alike, plain, ranked
from models_store.wording import inflected

MOST_SHOWN = 80
"""Longest part of a given value that a message repeats, in characters."""
ABOUT_WHOLE_VALUES = {"extra_forbidden", "missing", "value_error", "list_type", "too_short", "too_long"}
"""Codes of pydantic whose messages already name the given value, or where none was given; all our own messages do."""
OF_PYDANTIC = frozenset(get_args(ErrorType))
MOST_FAULTS = 50
"""A body of a megabyte can hold 100,000 unknown keys; looking for the nearest of each would take minutes."""
KEY_ITSELF = "[key]"
"""step with which pydantic points at a key, not at its value"""
MOST_KINDS = 12
"""Kinds that a message lists, the nearest first; `allowed` has them all."""


def explain(error: ValidationError, model: type[BaseModel], given: Any) -> list[dict[str, Any]]:  # noqa: ANN401  any JSON
    """Return a `{pointer, code, message, allowed?}` for each of the first errors; `pointer` (RFC 6901) points into `given`."""
    documents: dict[str, dict[str, Any]] = {}
    for fault in error.errors(include_url=False, include_input=False)[:MOST_FAULTS]:
        document = _explain_one(fault, model, given)
        first = documents.setdefault(document["pointer"], document)
        if document["message"] not in first["message"]:  # no form of a value that has several
            first["message"] += f"; or: {document['message']}"
    for document in documents.values():
        document["message"] += document.pop("given", "")
    above = {pointer for pointer in documents for other in documents if other.startswith(f"{pointer}/")}
    deepest = [document for pointer, document in documents.items() if pointer not in above]  # they say most
    return sorted(
        deepest, key=lambda document: document["code"] == "missing"
    )  # a wrong name says why another is missing


def _explain_one(
    fault: Any,  # noqa: ANN401  pydantic's ErrorDetails
    model: type[BaseModel],
    given: Any,  # noqa: ANN401  any JSON
) -> dict[str, Any]:
    root, code, message = schema_of(model), fault["type"], fault["msg"]
    place = walk(fault["loc"], root, given, ends_in_a_key=code == "extra_forbidden")
    steps, node = place.steps, place.node
    context = fault.get("ctx", {})
    allowed: Any = limits(node)
    if code == "extra_forbidden":
        key = str(steps[-1])
        code, allowed = "unknown_key", sorted(node.get("properties", {}))
        advice = advice_on_key(key, node, union=place.union, model=model)
        message = f"{_name_shown(key)} is not a key here; {advice}"
        if place.also:
            message += f"; or give a {' or a '.join(place.also)} in place of the object"
    elif code == "contradiction":
        steps, allowed = [*steps, *context["pointer"].split("/")], context["allowed"]
    elif code in {"union_tag_invalid", "union_tag_not_found"}:
        allowed = list(node.get("discriminator", {}).get("mapping", {}))
        message = _about_the_kind(context.get("tag"), place, root, given=given_at(given, steps), model=model)
        steps = [*steps, "kind"]
    elif code in {"model_attributes_type", "model_type", "dict_type"}:
        kinds = kinds_of(node)
        named = given_at(given, steps)
        meant = kind_alike(named, kinds, model) if isinstance(named, str) else None
        example = {"kind": meant or kinds[0]} if kinds else _example_of_an_object(node, root, given=named)
        allowed = kinds or sorted(node.get("properties", {}))
        message = f"give an object, such as {json.dumps(example, ensure_ascii=False)}"
    elif code == "list_type":
        message = _advice_to_give_a_list(given_at(given, steps), node, model)
    elif code == "string_pattern_mismatch":
        message = not_matching(context["pattern"], _named_at(given, steps), words_of(model).patterns)
    pointer = "".join(f"/{_escape(str(step))}" for step in steps if step != KEY_ITSELF)
    document = {"pointer": pointer, "code": code, "message": message}
    if fault["type"] in OF_PYDANTIC - ABOUT_WHOLE_VALUES and message == fault["msg"]:
        document["given"] = f", not {_shown(given_at(given, steps))}{_value_meant(given_at(given, steps), node, model)}"
    return document if allowed in (None, {}, []) else document | {"allowed": allowed}


def _about_the_kind(
    tag: Any,  # noqa: ANN401  any JSON
    place: Place,
    root: Schema,
    *,
    given: Any,  # noqa: ANN401  any JSON
    model: type[BaseModel],
) -> str:
    """Return a sentence about a wrong or missing kind, with the kind that was probably meant; the nearest come first."""
    mapped = place.node.get("discriminator", {}).get("mapping", {})
    kinds = [*kinds_of(place.node), *(kind for kind in mapped if kind not in kinds_of(place.node))]
    family = next((str(step) for step in reversed(place.steps) if isinstance(step, str)), "")
    if tag is None or (isinstance(given, dict) and given.get("kind", tag) is None):
        missing = "missing" if tag is None else "null"
        return f"`kind` is {missing}{_kind_meant(given, place.node, root, model)}; it is one of {_listed(kinds)}"
    shown = f"{_name_shown(str(tag))} is not a kind of {family or 'this part'}"
    if note := words_of(model).kind_notes.get(plain(str(tag))):
        return f"{shown}; {note}; its kinds are {_listed(kinds)}"
    home = home_of(str(tag), kinds, model)
    similar = None if home else kind_alike(str(tag), kinds, model)
    if similar:
        others = [kind for kind in ranked(str(tag), kinds) if kind != similar]
        return f"{shown}; did you mean {similar!r}? The others are {_listed(others)}"
    return f"{shown}; {home}; its kinds are {_listed(kinds)}" if home else f"{shown}; its kinds are {_listed(kinds)}"


def _listed(kinds: list[str]) -> str:
    """Return a list of some kinds, and where the others are listed."""
    if len(kinds) <= MOST_KINDS:
        return ", ".join(kinds)
    return (
        f"{', '.join(kinds[:MOST_KINDS])} and {len(kinds) - MOST_KINDS} more (`allowed` and GET /schema/train list all)"
    )


def _kind_meant(given: Any, node: Schema, root: Schema, model: type[BaseModel]) -> str:  # noqa: ANN401  any JSON
    """Return the kinds that an object without `kind` could be: another key names one, or its fields belong to few kinds."""
    if not isinstance(given, dict):
        return ""
    for key, value in given.items():
        meant = kind_alike(value, kinds_of(node), model) if isinstance(value, str) else None
        if meant and key in synonyms.CALLED_KIND:
            return f": write {json.dumps({'kind': meant})} in place of {_name_shown(key)}"
    fields = set(given) - {"kind"}
    fitting = kinds_with(fields, node, root) if fields else []
    return (
        f"; {' and '.join(fitting)} {inflected(len(fitting), 'has', 'have')} {', '.join(map(repr, sorted(fields)))}"
        if fitting
        else ""
    )


def _value_meant(given: Any, node: Schema, model: type[BaseModel]) -> str:  # noqa: ANN401  any JSON
    """Return the listed value that a text probably means."""
    listed = [each for each in choices(node) if isinstance(each, str)]
    meant = alike(given, listed, words=words_of(model).values) if isinstance(given, str) and given and listed else None
    return f"; did you mean {meant!r}?" if meant and meant != given else ""


def _named_at(given: Any, steps: list[int | str]) -> Any:  # noqa: ANN401  any JSON
    """Return the value given at some steps; for an unknown key, the key itself."""
    if steps and steps[-1] == KEY_ITSELF:
        return steps[-2]
    return given_at(given, steps)


def _name_shown(name: str) -> str:
    return repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…")


def _shown(given: Any) -> str:  # noqa: ANN401  any JSON
    """Return a given value as a message repeats it: shortened, and only the type of lists and objects."""
    if isinstance(given, dict | list):
        return "an object" if isinstance(given, dict) else f"a list of {len(given)}"
    text = json.dumps(given[:MOST_SHOWN] if isinstance(given, str) else given, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _advice_to_give_a_list(given: Any, node: Schema, model: type[BaseModel]) -> str:  # noqa: ANN401  any JSON
    """Return advice for a single part, or its name, in a place that needs a list of parts."""
    kinds = kinds_of(node.get("items", {}))
    name = given.get("kind") if isinstance(given, dict) else given
    if kinds:
        preset = [part.get("kind") for part in node.get("default") or [] if isinstance(part, dict)]
        meant = [kind_alike(name, kinds, model)] if isinstance(name, str) else []
        kind = next((each for each in (*meant, *preset) if each), kinds[0])
        example: list[Any] = [given] if isinstance(given, dict) and name == kind else [{"kind": kind}]
    else:
        example = [] if given is None or isinstance(given, dict) else [given]
    shown = json.dumps(example, ensure_ascii=False)
    shown = shown if len(shown) <= MOST_SHOWN else json.dumps([{"kind": kinds[0]}] if kinds else [])
    empty = "" if node.get("minItems") or shown == "[]" else ", or [] for none"
    return f"give a list, not {_shown(given)}: such as {shown}{empty}"


def _example_of_an_object(node: Schema, root: Schema, *, given: Any) -> dict[str, Any]:  # noqa: ANN401  any JSON
    """Return an example of an object with one field; the field holds the list that was given in place of the object, if that fits."""
    properties = node.get("properties", {})
    key = next(iter(node.get("required") or sorted(properties)), None)
    if key is None:
        return {}
    example = _example(properties[key], root)
    fits = isinstance(given, list) and isinstance(example, list) and len(given) >= len(example)
    return {key: given if fits and len(json.dumps(given)) <= MOST_SHOWN else example}


def _example(node: Schema, root: Schema) -> Any:  # noqa: ANN401  any JSON
    """Return an example value of a field: its default, the first allowed value, or the smallest of its type."""
    if node.get("default") is not None:
        return node["default"]
    whole = opened(node, root, None)
    options = forms(whole)
    whole = opened(options[0], root, None) if options else whole
    if "enum" in whole or "const" in whole:
        return whole.get("const", whole.get("enum", [None])[0])
    least = whole.get("minimum", 1)
    by_type: dict[str, Any] = {
        "boolean": False,
        "integer": least,
        "number": least,
        "array": [1, 2][: whole.get("minItems", 0)],
        "object": {},
    }
    return by_type.get(str(whole.get("type")), "…")


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
