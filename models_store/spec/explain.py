"""pydantic's errors → what was given, where, what is allowed: read from the same JSON Schema that users see."""

import difflib
from collections.abc import Iterator
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
    schema = model.model_json_schema()
    return [
        _explain_one(fault, schema, given)
        for fault in error.errors(include_url=False, include_input=False)[:MOST_FAULTS]
    ]


def _explain_one(fault: Any, root: Schema, given: Any) -> dict[str, Any]:  # noqa: ANN401  pydantic's ErrorDetails, any JSON
    steps, node = _walk(fault["loc"], root, given)
    context = fault.get("ctx", {})
    code, message = fault["type"], fault["msg"]
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
    fault_document = {"pointer": "".join(f"/{_escape(str(step))}" for step in steps), "code": code, "message": message}
    return fault_document if allowed in (None, {}, []) else fault_document | {"allowed": allowed}


def _walk(location: tuple[int | str, ...], root: Schema, given: Any) -> tuple[list[int | str], Schema]:  # noqa: ANN401  any JSON
    """Follow pydantic's location through what was given (it names union tags, which are no keys) and the schema."""
    steps: list[int | str] = []
    node = _open(root, root, given)
    for position, step in enumerate(location):
        is_tag = (
            isinstance(given, dict) and step not in given and step == given.get("kind") and position + 1 < len(location)
        )
        if is_tag:
            continue
        steps.append(step)
        given = _at(given, step)
        child = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step)
        if child is None:
            break  # an unknown key: the node that holds it says what is known
        node = _open(child, root, given)
    return steps, node


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
    options = [option for option in node.get("anyOf", []) if option.get("type") != "null"]
    return _open(options[0], root, given) if len(options) == 1 else node


def _limits(node: Schema) -> Any:  # noqa: ANN401  a JSON fragment
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
