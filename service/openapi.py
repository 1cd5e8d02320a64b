"""OpenAPI 3.1 document: that of FastAPI, with the bodies that we parse ourselves.

It is stored in docs/openapi.json, byte by byte, so that a diff shows a change of the interface;
`python -m service.openapi --check|--write` compares or renews it.
"""

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from models_store.models.dataset_predictions import DatasetPrediction
from models_store.spec.compression import Compression
from models_store.tasks import rooms
from models_store.tasks.rooms import TASKS
from service import openapi_examples
from service.answers.aliases import AliasTarget
from service.answers.answer import ComponentOf
from service.answers.events import JobEvent, LogStreamEvent
from service.answers.inference_protocol import IndexRequest, InferenceRequest, RepositoryRequest
from service.answers.predictions import PredictRequest
from service.auth import SECURITY_SCHEMES
from service.problems import MEDIA_TYPE
from service.requests.changes import DatasetPatch, DescriptionPatch, WeightsPatch
from service.routes import datasets, predict

SNAPSHOT = Path(__file__).parents[1] / "docs" / "openapi.json"
TAGS = [
    {"name": "datasets", "description": "Labelled examples: uploaded, checked, fingerprinted, split"},
    {"name": "train", "description": "Training specs, which become jobs"},
    {"name": "jobs", "description": "Jobs: state, progress, events, logs and reports"},
    {"name": "models", "description": "Models: versions, measured variants, files and aliases"},
    {"name": "weights", "description": "Your own files of initial weights"},
    {"name": "predict", "description": "Predictions of a model"},
    {
        "name": "inference protocol",
        "description": "The Open Inference Protocol, which clients of Triton and KServe speak",
    },
    {"name": "health", "description": "State of the service, for its operators"},
]
LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
CONTACT = {"name": "Espalier"}
SERVERS = [{"url": "/", "description": "The service from which this document was fetched"}]


def _version() -> str:
    try:
        return version("espalier")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0.1.0"


VERSION = _version()
SHAPES: tuple[type[BaseModel], ...] = (
    *(task.Spec for task in TASKS),
    *(task.ResolvedSpec for task in TASKS),
    Compression,
    DatasetPrediction,
    *rooms.previews(),
    PredictRequest,
    InferenceRequest,
    IndexRequest,
    RepositoryRequest,
    AliasTarget,
    DatasetPatch,
    DescriptionPatch,
    WeightsPatch,
    JobEvent,
    LogStreamEvent,
)
"""Parts that FastAPI does not know, or documents without nulls: bodies that we parse ourselves, and answers that we
write ourselves"""
FORMS = {"DatasetForm": datasets.FORM, "PredictForm": predict.FORM}


def install(app: FastAPI) -> None:
    """Serve our document instead of FastAPI's; it is made at the first request."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build(app)
        return app.openapi_schema

    setattr(app, "openapi", document)  # noqa: B010  FastAPI's documented way; mypy refuses the plain assignment


def build(app: FastAPI) -> dict[str, Any]:
    """Return the document."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        tags=app.openapi_tags,
        servers=SERVERS,
        contact=CONTACT,
        license_info=LICENSE,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    _, bodies = models_json_schema(
        [(model, "validation") for model in SHAPES], ref_template="#/components/schemas/{model}"
    )
    _drop_validation_errors(document)
    schemas = document["components"]["schemas"]
    for name, schema in bodies["$defs"].items():
        assert _keys(schemas.get(name, schema)) == _keys(schema), f"two shapes are named {name}"
        schemas[name] = schema  # not FastAPI's, which drops every `default: null`
    schemas |= FORMS | _specs()
    _refer(schemas)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _drop_unused(document)
    _rename_object_defaults(schemas)
    _close_over_properties(schemas)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    document["security"] = [{}, *({name: []} for name in SECURITY_SCHEMES)]
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                _as_problem(response)
            for parameter in operation.get("parameters", ()):
                _leave_out_null(parameter["schema"])
    openapi_examples.attach(document)
    return document


def _rename_object_defaults(node: Any) -> None:  # noqa: ANN401  any JSON
    """Replace `default` by `x-default` if it is an object: client generators would drop the whole schema."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _rename_object_defaults(child)
    if isinstance(node, dict) and isinstance(node.get("default"), dict) and "description" in node:
        node["x-default"] = node.pop("default")


def _specs() -> dict[str, Any]:
    """Return the specs of all tasks as unions; a spec may leave its task out, so that several members may fit it."""
    unions: dict[str, Any] = {}
    for name, members in (
        ("TrainSpec", {task.Spec: task.targets for task in TASKS}),
        ("ResolvedSpec", {task.ResolvedSpec: task.targets for task in TASKS}),
    ):
        at = {member: f"#/components/schemas/{member.__name__}" for member in members}
        mapping = {task: at[member] for member, tasks in members.items() for task in tasks}
        unions[name] = {
            "title": name,
            "description": next(iter(members)).__doc__,
            "anyOf" if name == "TrainSpec" else "oneOf": [{"$ref": reference} for reference in at.values()],
            "discriminator": {"propertyName": "task", "mapping": mapping},
        }
    return unions


def _refer(node: Any) -> None:  # noqa: ANN401  any JSON
    """Turn the names of components into references to them."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _refer(child)
    if isinstance(node, dict) and ComponentOf.KEY in node:
        node["$ref"] = f"#/components/schemas/{node.pop(ComponentOf.KEY)}"


def _drop_validation_errors(document: dict[str, Any]) -> None:
    """Leave out FastAPI's own 422, which it documents where a call has parameters and no 422 of its own."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in _references(operation["responses"].get("422")):
                del operation["responses"]["422"]


def _drop_unused(document: dict[str, Any]) -> None:
    """Leave out schemas that nothing refers to: those of specs of no task."""
    schemas = document["components"]["schemas"]
    wanted, seen = [document["paths"]], set[str]()
    while wanted:
        for reference in _references(wanted.pop()) - seen:
            seen.add(reference)
            wanted.append(schemas[reference])
    for name in schemas.keys() - seen:
        del schemas[name]


def _references(node: Any) -> set[str]:  # noqa: ANN401  any JSON
    """Return the names of the schemas that a part of the document refers to."""
    if isinstance(node, list):
        return set[str]().union(*map(_references, node))
    if not isinstance(node, dict):
        return set()
    own = {str(node["$ref"]).rpartition("/")[2]} if isinstance(node.get("$ref"), str) else set[str]()
    return own.union(*map(_references, node.values()))


def _keys(schema: dict[str, Any]) -> list[str]:
    return sorted(schema.get("properties", {}))


def _close_over_properties(schemas: dict[str, Any]) -> None:
    """Remove `additionalProperties`: clients' types would otherwise have any key of any type."""
    for schema in schemas.values():
        if "properties" in schema and schema.get("additionalProperties") is True:
            del schema["additionalProperties"]


def _leave_out_null(schema: dict[str, Any]) -> None:
    """Remove null from a parameter's schema: in a query or a header it would be the word "null"."""
    others = [member for member in schema.get("anyOf", ()) if member != {"type": "null"}]
    if len(others) == 1:
        del schema["anyOf"]
        schema |= others[0]


def _as_problem(response: dict[str, Any]) -> None:
    """Document a problem only under its own media type; FastAPI puts its schema under the route's."""
    if MEDIA_TYPE in response.get("content", {}):
        response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _rendered() -> bytes:
    from models_store.settings import Settings  # noqa: PLC0415  for this command alone
    from service.app import create_app  # noqa: PLC0415  app.py imports this module

    with TemporaryDirectory() as home:
        app = create_app(Settings(espalier_home=Path(home), database_url="", blobs_url="", work_dir=None))
        return orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def main() -> int:
    """Write the snapshot, or report whether it is current."""
    parser = argparse.ArgumentParser(prog="python -m service.openapi", description=__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--check", action="store_true", help="exit 1 when the snapshot is stale")
    group.add_argument("--write", action="store_true", help="write the snapshot")
    arguments = parser.parse_args()
    fresh = _rendered()
    if arguments.write:
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_bytes(fresh)
    elif not SNAPSHOT.exists() or SNAPSHOT.read_bytes() != fresh:
        sys.stderr.write("docs/openapi.json is stale; run `python -m service.openapi --write` and commit it\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
