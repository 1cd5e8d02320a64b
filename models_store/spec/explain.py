"""pydantic's errors → what was given, where, what is allowed: read from the same JSON Schema that users see."""

import difflib
import json
from collections.abc import Iterable, Iterator
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
MOST_SHOWN = 80
"""Characters of a given value that a message repeats."""
ABOUT_WHOLE_VALUES = {"extra_forbidden", "missing", "contradiction", "value_error", "list_type"}
"""Codes whose messages name what was given already, or where nothing was."""
LONGEST_NAME = 100
"""Characters of a name whose nearest is looked for: of a megabyte that takes seconds, and no name is so long."""
MOST_FAULTS = 50
"""A body of a megabyte can hold 100,000 unknown keys; looking for the nearest of each would take minutes."""

Schema = dict[str, Any]


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
    return [document for pointer, document in documents.items() if pointer not in above]  # the deepest says most


@cache
def _schema_of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()  # a tenth of a second for the whole spec


def _explain_one(
    fault: Any,  # noqa: ANN401  pydantic's ErrorDetails
    model: type[BaseModel],
    given: Any,  # noqa: ANN401  any JSON
) -> dict[str, Any]:
    root, code, message = _schema_of(model), fault["type"], fault["msg"]
    steps, node = _walk(fault["loc"], root, given, ends_in_a_key=code == "extra_forbidden")
    context = fault.get("ctx", {})
    allowed: Any = _limits(node)
    if code == "extra_forbidden":
        known = sorted(node.get("properties", {}))
        key = str(steps[-1])
        home, nearest = _home(key, known, model), _nearest(key, root, node)
        code, allowed = "unknown_key", known
        advice = f"did you mean {nearest!r}?" if nearest else f"the keys are {', '.join(known)}"
        advice = home if "a kind of" in home else advice  # of a field alone, its path says as much
        message = f"{_name_shown(key)} is not a key here; {advice}"
    elif code == "contradiction":
        steps, allowed = [*steps, *context["pointer"].split("/")], context["allowed"]
    elif code in {"union_tag_invalid", "union_tag_not_found"}:
        allowed = list(node.get("discriminator", {}).get("mapping", {}))
        steps = [*steps, "kind"]
        tag = str(context.get("tag", ""))
        home, similar = _home(tag, allowed, model), _alike(tag, _kinds(node) or allowed)
        found = f"{_name_shown(tag)} is not one of" if "tag" in context else "`kind` is missing; it is one of"
        advice = home or (f"did you mean {similar!r}?" if similar else "")
        advice = advice if "tag" in context else _kinds_with(_given_at(given, steps[:-1]), node, root)
        message = f"{found} {', '.join(allowed)}" + (f"; {advice}" if advice else "")
    elif code in {"model_attributes_type", "model_type", "dict_type"}:
        kinds = list(node.get("discriminator", {}).get("mapping", {}))
        known = sorted(node.get("properties", {}))
        named = _given_at(given, steps)
        example = {"kind": named if named in kinds else kinds[0]} if kinds else _example_of_an_object(node, root)
        allowed, message = kinds or known, f"give an object, such as {json.dumps(example, ensure_ascii=False)}"
    elif code == "list_type":
        message = _advice_to_give_a_list(_given_at(given, steps), node)
    fault_document = {"pointer": "".join(f"/{_escape(str(step))}" for step in steps), "code": code, "message": message}
    if fault["type"] not in ABOUT_WHOLE_VALUES and message == fault["msg"]:
        fault_document["given"] = f", not {_shown(_given_at(given, steps))}"
    return fault_document if allowed in (None, {}, []) else fault_document | {"allowed": allowed}


def _name_shown(name: str) -> str:
    return repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…")


def _shown(given: Any) -> str:  # noqa: ANN401  any JSON
    """Return a given value as a message repeats it: shortened, and of lists and objects the type alone."""
    if isinstance(given, dict | list):
        return "an object" if isinstance(given, dict) else f"a list of {len(given)}"
    text = json.dumps(given[:MOST_SHOWN] if isinstance(given, str) else given, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _advice_to_give_a_list(given: Any, node: Schema) -> str:  # noqa: ANN401  any JSON
    """Return what to write in place of one part, or of its name, where a list of them belongs."""
    kinds = _kinds(node.get("items", {}))
    name = given.get("kind") if isinstance(given, dict) else given
    if kinds:
        preset = [part.get("kind") for part in node.get("default") or [] if isinstance(part, dict)]
        meant = [_alike(name, kinds)] if isinstance(name, str) else []
        kind = next((each for each in (*meant, *preset) if each), kinds[0])
        example: list[Any] = [given] if isinstance(given, dict) and name == kind else [{"kind": kind}]
    else:
        example = [] if given is None or isinstance(given, dict) else [given]
    shown = json.dumps(example, ensure_ascii=False)
    shown = shown if len(shown) <= MOST_SHOWN else json.dumps([{"kind": kinds[0]}] if kinds else [])
    empty = "" if node.get("minItems") or shown == "[]" else ", or [] for none"
    return f"give a list, not {_shown(given)}: such as {shown}{empty}"


def _kinds(node: Schema) -> list[str]:
    """Return the kinds of a part in the order in which the spec has them; the mapping is sorted by name."""
    of_part = {reference: kind for kind, reference in node.get("discriminator", {}).get("mapping", {}).items()}
    return [of_part[form["$ref"]] for form in node.get("oneOf", []) if form.get("$ref") in of_part]


def _kinds_with(given: Any, node: Schema, root: Schema) -> str:  # noqa: ANN401  any JSON
    """Return which kinds have the fields that were given without one."""
    keys = set(given) if isinstance(given, dict) else set()
    fitting = [kind for kind in _kinds(node) if keys <= set(_open(node, root, {"kind": kind}).get("properties", {}))]
    return f"{', '.join(map(repr, sorted(keys)))}: of {' or '.join(fitting)}" if keys and fitting else ""


def _example_of_an_object(node: Schema, root: Schema) -> dict[str, Any]:
    """Return an object with one field, of a value that it may have."""
    properties = node.get("properties", {})
    keys = node.get("required") or sorted(properties)
    return {key: _example(properties[key], root) for key in keys[:1]}


def _example(node: Schema, root: Schema) -> Any:  # noqa: ANN401  any JSON
    """Return a value of a field: its default, the first of what is allowed, or the least of its type."""
    if node.get("default") is not None:
        return node["default"]
    opened = _open(node, root, None)
    forms = _forms(opened)
    opened = _open(forms[0], root, None) if forms else opened
    if "enum" in opened or "const" in opened:
        return opened.get("const", opened.get("enum", [None])[0])
    least = opened.get("minimum", 1)
    by_type: dict[str, Any] = {"boolean": False, "integer": least, "number": least, "array": [], "object": {}}
    return by_type.get(str(opened.get("type")), "…")


def _alike(name: str, known: list[str]) -> str | None:
    """Return what of the known a name means: itself whatever its case, one that contains it, or the most similar."""
    folded = name.casefold()
    same = [each for each in known if each.casefold() == folded]
    holding = [each for each in known if len(folded) > 2 and folded in each.casefold()]  # noqa: PLR2004  no syllable
    return next(iter([*same, *holding]), None) or _close(name, known, cutoff=0.6)


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
    close = _close(key, here, cutoff=0.75)
    if close:
        return close
    paths = {path.rpartition(".")[2]: path for path in reversed(list(_paths(root, root, "")))}
    elsewhere = _close(key, paths, cutoff=0.75)
    return paths[elsewhere] if elsewhere else _close(key, here, cutoff=0.5)


def _close(name: str, known: Iterable[str], *, cutoff: float) -> str | None:
    """Return the most similar of what is known, whatever the case."""
    if len(name) > LONGEST_NAME:
        return None
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else None


def _home(name: str, known: list[str], model: type[BaseModel]) -> str:
    """Return what a name is elsewhere in the spec, and where; nothing if it is known here but for its case."""
    homes = [] if name.casefold() in {each.casefold() for each in known} else _homes(model).get(name.casefold(), [])
    return f"`{name}` is {' and '.join(homes)}" if homes else ""


@cache
def _homes(model: type[BaseModel]) -> dict[str, list[str]]:
    """Return name, in small letters → the field or kind that it is, where that lies nearest to the top."""
    root = _schema_of(model)
    found: dict[str, list[str]] = {}
    for name, home in sorted(_places(root, root, ""), key=lambda place: place[1].count(".")):
        homes = found.setdefault(name.casefold(), [])
        if home not in homes and (not homes or home.count(".") == homes[0].count(".")):
            homes.append(home)
    return found


def _places(node: Schema, root: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each field and of each kind below a node, with what it is and where."""
    for key, child in node.get("properties", {}).items():
        if key != "kind":
            yield key, f"a field of `{path}`" if path else "a field of the spec itself"
        below = f"{path}.{key}" if path else key
        opened = _open(child, root, None)
        opened = _open(opened["items"], root, None) if "items" in opened else opened
        yield from _places(opened, root, below)
        for kind, reference in opened.get("discriminator", {}).get("mapping", {}).items():
            yield kind, f"a kind of `{below}`"
            yield from _places(_open({"$ref": reference}, root, None), root, below)


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
