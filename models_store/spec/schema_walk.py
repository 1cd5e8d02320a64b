"""Walks through the JSON Schema of a spec and a given document together: the place of a location, and what is allowed there."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

LIMITS = (
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "type",
)

Schema = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Place of a location: its steps in the document, the schema there, and all kinds of the part."""

    steps: list[int | str]
    node: Schema
    union: Schema
    also: tuple[str, ...] = ()
    """types that may be given in place of the object whose key is not known"""


@cache
def schema_of(model: type[BaseModel]) -> Schema:
    """Return the JSON Schema of a model; for the whole spec this takes a tenth of a second."""
    return model.model_json_schema()


def walk(
    location: tuple[int | str, ...],
    root: Schema,
    given: Any,  # noqa: ANN401  any JSON
    *,
    ends_in_a_key: bool,
) -> Place:
    """Follow pydantic's location through the given document and the schema; it names members of unions, which are no keys."""
    steps: list[int | str] = []
    node, union = opened(root, root, given), dict[str, Any]()
    also: tuple[str, ...] = ()
    for position, step in enumerate(location):
        is_there = isinstance(given, dict) and step in given
        is_last_key = ends_in_a_key and position + 1 == len(location)
        is_tag = isinstance(given, dict) and step == given.get("kind")
        is_form = isinstance(step, str) and len(forms(node)) > 1 and "discriminator" not in node
        if (is_tag or is_form) and not is_there and not is_last_key:
            members = [opened(form, root, given) for form in forms(node)]
            node = next((form for form in members if is_form and form.get("type") == _type_of(given)), node)
            also = tuple(str(form["type"]) for form in members if form.get("type", "object") != "object")
            continue
        steps.append(step)
        given = at(given, step)
        below = node.get("items", {}) if isinstance(step, int) else _child(node, step)
        if below is None:
            break  # an unknown key: the node that holds it says what is known
        node, also = opened(below, root, given), ()
        union = opened(below, root, None)
    return Place(steps, node, union if kinds_of(union) else {}, also)


def given_at(given: Any, steps: list[int | str]) -> Any:  # noqa: ANN401  any JSON
    """Return the value at some steps of a document, or None."""
    for step in steps:
        given = at(given, step)
    return given


def at(given: Any, step: int | str) -> Any:  # noqa: ANN401  any JSON
    """Return the value one step into a document, or None."""
    if isinstance(given, dict):
        return given.get(step)
    if isinstance(given, list) and isinstance(step, int) and step < len(given):
        return given[step]
    return None


def opened(node: Schema, root: Schema, given: Any) -> Schema:  # noqa: ANN401  any JSON
    """Resolve references, and unions as far as `given` decides them."""
    if "$ref" in node:
        target: Schema = root["$defs"][node["$ref"].rpartition("/")[2]]
        return opened(target, root, given)
    mapping = node.get("discriminator", {}).get("mapping", {})
    if mapping and isinstance(given, dict) and isinstance(given.get("kind"), str) and given["kind"] in mapping:
        return opened({"$ref": mapping[given["kind"]]}, root, given)
    options = forms(node)
    return opened(options[0], root, given) if len(options) == 1 else node


def forms(node: Schema) -> list[Schema]:
    """Return the alternatives of a value besides null, if there are several."""
    return [form for form in node.get("anyOf", []) if form.get("type") != "null"]


def kinds_of(node: Schema) -> list[str]:
    """Return the kinds of a part in the order in which the spec has them; the mapping is sorted by name."""
    of_part = {reference: kind for kind, reference in node.get("discriminator", {}).get("mapping", {}).items()}
    return [of_part[form["$ref"]] for form in node.get("oneOf", []) if form.get("$ref") in of_part]


def kinds_with(keys: set[str], node: Schema, root: Schema) -> list[str]:
    """Return which kinds of a part have all these fields."""
    return [kind for kind in kinds_of(node) if keys <= set(opened(node, root, {"kind": kind}).get("properties", {}))]


def limits(node: Schema) -> Any:  # noqa: ANN401  a JSON fragment
    """Return what is allowed at a node, as in JSON Schema; None for objects."""
    if len(forms(node)) > 1:
        return {"anyOf": [allowed for form in forms(node) if (allowed := limits(form))]}
    if "enum" in node:
        return node["enum"]
    if node.get("type") == "object":
        return None
    return {key: node[key] for key in LIMITS if key in node}


def choices(node: Schema) -> list[Any]:
    """Return the values that are listed at a node, in any of its alternatives."""
    own = node.get("enum", [node["const"]] if "const" in node else [])
    return [*own, *(value for form in forms(node) for value in choices(form))]


def paths(node: Schema, root: Schema, prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every field below a node, those of all kinds of a part among them."""
    for key, child in node.get("properties", {}).items():
        yield f"{prefix}{key}"
        whole = opened(child, root, None)
        parts = [
            opened({"$ref": each}, root, None) for each in whole.get("discriminator", {}).get("mapping", {}).values()
        ]
        for option in [whole, *parts]:
            yield from paths(option, root, f"{prefix}{key}.")


def places(node: Schema, root: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name of each field and of each kind below a node, with a description and its path."""
    for key, child in node.get("properties", {}).items():
        if key != "kind":
            yield key, f"a field of `{path}`" if path else "a field at the top of the spec"
        below = f"{path}.{key}" if path else key
        whole = opened(child, root, None)
        whole = opened(whole["items"], root, None) if "items" in whole else whole
        yield from places(whole, root, below)
        for kind, reference in whole.get("discriminator", {}).get("mapping", {}).items():
            yield kind, f"a kind of `{below}`"
            yield from places(opened({"$ref": reference}, root, None), root, below)


def _child(node: Schema, key: str) -> Schema | None:
    values = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), None)
    found: Schema | None = node.get("properties", {}).get(key)
    return values if found is None and isinstance(values, dict) else found


def _type_of(given: Any) -> str:  # noqa: ANN401  any JSON
    return "object" if isinstance(given, dict) else "array" if isinstance(given, list) else "scalar"
