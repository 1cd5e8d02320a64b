"""Examples of the OpenAPI document: one for each shape, in static/examples.json, referred to by every call that has it.

A test holds them to the document's schemas and to the models.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from models_store.tasks.rooms import TASKS

FILE = Path(__file__).parent / "static" / "examples.json"


def attach(document: dict[str, Any]) -> None:
    """Give every body of a request, and of an answer that is no problem, an example where it has none of its own."""
    known = _with_samples(orjson.loads(FILE.read_bytes()))
    used: dict[str, Any] = {}
    for operation, media_type, media in _bodies(document):
        if "example" in media or "examples" in media:
            continue
        name = media["schema"].get("$ref", "").rpartition("/")[2]
        if name:
            assert name in known["schemas"], f"{FILE.name} has no example of {name}: write one there"
            used[name] = {"summary": _summary(document["components"]["schemas"][name]), "value": known["schemas"][name]}
            media["examples"] = {name: {"$ref": f"#/components/examples/{name}"}}
        else:
            of_its_own = known["inline"].get(f"{operation['operationId']} {media_type}")
            media["example"] = of_its_own if of_its_own is not None else f"(bytes of {media_type})"
    document["components"]["examples"] = dict(sorted(used.items()))


def _with_samples(node: Any) -> Any:  # noqa: ANN401  any JSON
    """Return examples with what a task's room says of itself, where they name it: `{"$sample": "spec"}`."""
    if isinstance(node, list):
        return [_with_samples(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "$sample" in node:
        return TASKS[0].samples[node["$sample"]]
    return {name: _with_samples(each) for name, each in node.items()}


def _bodies(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    for operations in document["paths"].values():
        for operation in operations.values():
            contents = [operation.get("requestBody", {}).get("content", {})]
            contents += [each.get("content", {}) for code, each in operation["responses"].items() if int(code) < 400]  # noqa: PLR2004
            for content in contents:
                for media_type, media in content.items():
                    if media_type != "application/problem+json":
                        yield operation, media_type, media


def _summary(schema: dict[str, Any]) -> str:
    return str(schema.get("description", "as a form")).partition("\n")[0]
