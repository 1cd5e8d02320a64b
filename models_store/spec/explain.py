"""pydantic's errors → what was given, where, what is allowed: read from the same JSON Schema that users see."""

import difflib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

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
MOST_FAULTS = 50
"""A body of a megabyte can hold 100,000 unknown keys; looking for the nearest of each would take minutes."""

Schema = dict[str, Any]


def explain(error: ValidationError, model: type[BaseModel], given: Any) -> list[dict[str, Any]]:  # noqa: ANN401  any JSON
    """Return a `{pointer, code, message, allowed?}` for each of the first errors; `pointer` (RFC 6901) points into `given`."""
    schema = _schema_of(model)
    documents: dict[str, dict[str, Any]] = {}
    for fault in error.errors(include_url=False, include_input=False)[:MOST_FAULTS]:
        document = _explain_one(fault, schema, given)
        first = documents.setdefault(document["pointer"], document)
        if document["message"] not in first["message"]:  # no form of a value that has several
            first["message"] += f"; or: {document['message']}"
    above = {pointer for pointer in documents for other in documents if other.startswith(f"{pointer}/")}
    return [document for pointer, document in documents.items() if pointer not in above]  # the deepest says most


@cache
def _schema_of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()  # a tenth of a second for the whole spec


def _explain_one(fault: Any, root: Schema, given: Any) -> dict[str, Any]:  # noqa: ANN401  pydantic's ErrorDetails, any JSON
    code, message = fault["type"], fault["msg"]
    steps, node = _walk(fault["loc"], root, given, ends_in_a_key=code == "extra_forbidden")
    context = fault.get("ctx", {})
    allowed: Any = _limits(node)
    if code == "extra_forbidden":
        known = node.get("properties", {})
        nearest = _nearest(str(steps[-1]), root, node)
        code, allowed = "unknown_key", sorted(known)
        message = f"{steps[-1]!r} is not a key here" + (
            f"; did you mean {nearest!r}?" if nearest else f"; the keys are {', '.join(sorted(known))}"
        )
    elif code == "contradiction":
        steps, allowed = [*steps, *context["pointer"].split("/")], context["allowed"]
    elif code in {"union_tag_invalid", "union_tag_not_found"}:
        allowed = list(node.get("discriminator", {}).get("mapping", {}))
        steps = [*steps, "kind"]
        similar = difflib.get_close_matches(str(context.get("tag", "")), allowed, n=1, cutoff=0.4)
        found = f"{context['tag']!r} is not one of" if "tag" in context else "`kind` is missing; it is one of"
        message = f"{found} {', '.join(allowed)}" + (f"; did you mean {similar[0]!r}?" if similar else "")
    elif code in {"model_attributes_type", "model_type", "dict_type"}:
        kinds = list(node.get("discriminator", {}).get("mapping", {}))
        known = sorted(node.get("properties", {}))
        named = _given_at(given, steps)
        example = {"kind": named if named in kinds else kinds[0]} if kinds else dict.fromkeys(known[:1], "…")
        allowed, message = kinds or known, f"give an object, such as {json.dumps(example, ensure_ascii=False)}"
    fault_document = {"pointer": "".join(f"/{_escape(str(step))}" for step in steps), "code": code, "message": message}
    return fault_document if allowed in (None, {}, []) else fault_document | {"allowed": allowed}


def _walk(
    location: tuple[int | str, ...],
    root: Schema,
    given: Any,  # noqa: ANN401  any JSON
    *,
    ends_in_a_key: bool,
) -> tuple[list[int | str], Schema]:
    """Follow pydantic's location through what was given and the schema; it names members of unions, which are no keys."""
    steps: list[int | str] = []
    node = _open(root, root, given)
    for position, step in enumerate(location):
        is_there = isinstance(given, dict) and step in given
        is_last_key = ends_in_a_key and position + 1 == len(location)
        is_tag = isinstance(given, dict) and step == given.get("kind")
        is_form = isinstance(step, str) and len(_forms(node)) > 1 and "discriminator" not in node
        if (is_tag or is_form) and not is_there and not is_last_key:
            node = next((form for form in _forms(node) if is_form and form.get("type") == _type_of(given)), node)
            continue
        steps.append(step)
        given = _at(given, step)
        child = node.get("items", {}) if isinstance(step, int) else _child(node, step)
        if child is None:
            break  # an unknown key: the node that holds it says what is known
        node = _open(child, root, given)
    return steps, node


def _given_at(given: Any, steps: list[int | str]) -> Any:  # noqa: ANN401  any JSON
    for step in steps:
        given = _at(given, step)
    return given


def _child(node: Schema, key: str) -> Schema | None:
    values = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), None)
    found: Schema | None = node.get("properties", {}).get(key)
    return values if found is None and isinstance(values, dict) else found


def _type_of(given: Any) -> str:  # noqa: ANN401  any JSON
    return "object" if isinstance(given, dict) else "array" if isinstance(given, list) else "scalar"


def _at(given: Any, step: int | str) -> Any:  # noqa: ANN401  any JSON
    if isinstance(given, dict):
        return given.get(step)
    if isinstance(given, list) and isinstance(step, int) and step < len(given):
        return given[step]
    return None


def _open(node: Schema, root: Schema, given: Any) -> Schema:  # noqa: ANN401  any JSON
    """Resolve references, and unions as far as `given` decides them."""
    if "$ref" in node:
        target: Schema = root["$defs"][node["$ref"].rpartition("/")[2]]
        return _open(target, root, given)
    mapping = node.get("discriminator", {}).get("mapping", {})
    if mapping and isinstance(given, dict) and isinstance(given.get("kind"), str) and given["kind"] in mapping:
        return _open({"$ref": mapping[given["kind"]]}, root, given)
    options = _forms(node)
    return _open(options[0], root, given) if len(options) == 1 else node


def _forms(node: Schema) -> list[Schema]:
    """Return the forms that a value may have besides null, where there are several."""
    return [form for form in node.get("anyOf", []) if form.get("type") != "null"]


def _limits(node: Schema) -> Any:  # noqa: ANN401  a JSON fragment
    if len(_forms(node)) > 1:
        return {"anyOf": [limits for form in _forms(node) if (limits := _limits(form))]}
    if "enum" in node:
        return node["enum"]
    if node.get("type") == "object":
        return None
    return {key: node[key] for key in LIMITS if key in node}


def _nearest(key: str, root: Schema, node: Schema) -> str | None:
    """Return the nearest key here, or the dotted path of a nearer one elsewhere in the spec."""
    here = list(node.get("properties", {}))
    close: list[str] = difflib.get_close_matches(key, here, n=1, cutoff=0.75)
    if close:
        return close[0]
    paths = {path.rpartition(".")[2]: path for path in reversed(list(_paths(root, root, "")))}
    elsewhere = difflib.get_close_matches(key, paths, n=1, cutoff=0.75)
    if elsewhere:
        return paths[elsewhere[0]]
    close = difflib.get_close_matches(key, here, n=1, cutoff=0.5)
    return close[0] if close else None


def _paths(node: Schema, root: Schema, prefix: str) -> Iterator[str]:
    for key, child in node.get("properties", {}).items():
        yield f"{prefix}{key}"
        opened = _open(child, root, None)
        for option in [
            opened,
            *(
                _open({"$ref": reference}, root, None)
                for reference in opened.get("discriminator", {}).get("mapping", {}).values()
            ),
        ]:
            yield from _paths(option, root, f"{prefix}{key}.")


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
