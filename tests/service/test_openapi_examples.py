"""Examples of the OpenAPI document: there is one wherever a body is, and each is what the document and models allow."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from service import openapi, routes
from service.answers.answer import Answer
from tests import openapi_contract


def bodies() -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Yield each body of a request or a good answer: what it is of, the place of its schema, and its media type."""
    for path, operations in openapi_contract.document()["paths"].items():
        for method, operation in operations.items():
            places = [("requestBody", "content")] if "requestBody" in operation else []
            places += [("responses", status, "content") for status in operation["responses"] if int(status) < 400]
            for place in places:
                content = operation
                for step in place:
                    content = content.get(step, {})
                for media_type, media in content.items():
                    if media_type != "application/problem+json":
                        name = f"{operation['operationId']} {' '.join(place[:-1])} {media_type}"
                        yield name, ("paths", path, method, *place, media_type, "schema"), media


def examples_of(media: dict[str, Any]) -> list[Any]:
    found = [media["example"]] if "example" in media else []
    for example in media.get("examples", {}).values():
        name = example.get("$ref", "").rpartition("/")[2]
        found.append((openapi_contract.document()["components"]["examples"][name] if name else example)["value"])
    return found


def models() -> dict[str, type[BaseModel]]:
    """Return the classes of all shapes by name."""
    for module in pkgutil.iter_modules(routes.__path__, f"{routes.__name__}."):
        importlib.import_module(module.name)
    found: dict[str, type[BaseModel]] = {model.__name__: model for model in openapi.SHAPES}
    waiting: list[type[Answer]] = [Answer]
    while waiting:
        each = waiting.pop()
        waiting += each.__subclasses__()
        found[each.__name__] = each
    return found


@pytest.mark.parametrize(("place", "media"), [pytest.param(*rest, id=name) for name, *rest in bodies()])
def test_a_body_has_examples_that_its_schema_allows(place: tuple[str, ...], media: dict[str, Any]) -> None:
    examples = examples_of(media)

    assert examples
    assert [openapi_contract.faults(place, example) for example in examples] == [[]] * len(examples)


@pytest.mark.parametrize("name", sorted(openapi_contract.document()["components"]["examples"]))
def test_an_example_of_a_shape_is_accepted_by_its_model(name: str) -> None:
    if name in openapi.FORMS:
        pytest.skip("forms are read by field, by no model")
    value = openapi_contract.document()["components"]["examples"][name]["value"]

    assert models()[name].model_validate_json(orjson.dumps(value))
