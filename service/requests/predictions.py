"""Prediction requests: bodies as JSON, as a form, as one raw file or as rows become examples for a model.

The model is resolved as early as it is known, so that the body for a missing model is not read: from the query for a
raw body, rows or a form, from a field before the files of a form, from the first key of a JSON body.
"""

import functools
import operator
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.concurrency import run_in_threadpool

from models_store.datasets.table_lines import Encoding, TableRefused, decoded
from models_store.errors import FieldError
from models_store.models import registry
from models_store.models.served import Served
from models_store.settings import Settings
from models_store.tasks import rooms
from models_store.tasks.explanation import Method
from models_store.tasks.task import Contract
from models_store.wording import counted
from service.answers.predictions import PredictRequest, json_type_of
from service.inference import explanations
from service.inference.decode import Example
from service.inference.engine import DEFAULT, FIRST, LAST, Work
from service.inference.references import References
from service.problems import nearest
from service.requests import bodies, certainty, charsets, example_rows, multipart
from service.requests.certainty import LEAST_COVERAGE, MOST_COVERAGE, Certainty
from service.requests.parameters import refuse_query_besides
from service.requests.remote_files import RemoteFiles
from service.requests.strict_json import TooManyValues
from service.requests.urgency import LONGEST_S, Arrival, arrival_of, limit_in

OCTETS = "application/octet-stream"
FIRST_KEY = re.compile(rb'\s*\{\s*"model"\s*:\s*"([ !#-\[\]-~]{1,200})"')
TARGET = {"model", "top_k", "timeout", "priority", "min_confidence", "coverage", "explain", "explanation_method"}
BODY = "body"
"""pointer to an example that is the whole body"""


class Target(BaseModel):
    """Fields of a form or a query, beside the examples; numbers come as text there."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=200)
    top_k: int | None = Field(None, ge=1, le=10_000)
    timeout: float | None = Field(None, gt=0, le=LONGEST_S, allow_inf_nan=False)
    priority: int | None = Field(None, ge=FIRST, le=LAST)
    min_confidence: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    coverage: float | None = Field(None, ge=LEAST_COVERAGE, le=MOST_COVERAGE, allow_inf_nan=False)
    explain: bool = False
    explanation_method: Method | None = None


@dataclass(frozen=True)
class Raw:
    """A body that is one example, or has one in each row."""

    body: bytes
    content_type: str
    encoding: Encoding

    def in_utf_8(self) -> bytes:
        """Return the body; where its content type names another charset, in UTF-8.

        Raises:
            InvalidBody: if it is not in that charset.
        """
        if self.encoding == "utf-8":
            return self.body
        try:
            return decoded(self.body, self.encoding).encode()
        except TableRefused as error:
            fault = FieldError(BODY, error.code, str(error))
            raise bodies.InvalidBody(f"{BODY}: {error}", errors=[fault]) from error


@dataclass(frozen=True)
class Asked:
    """A prediction request in any of its formats."""

    served: Served
    top_k: int | None
    work: Work
    certainty: Certainty
    explain: bool = False
    explanation_method: Method | None = None


class Resolver:
    """References of one owner, and the files that requests name by URL."""

    def __init__(
        self, references: References, *, files: RemoteFiles, owner: str, sticky_key: str | None = None
    ) -> None:
        self.files = files
        self._references = references
        self._owner = owner
        self._sticky_key = sticky_key

    async def served(self, reference: str) -> Served:
        """Return the variant of a reference, maybe from the cache.

        Raises:
            ModelNotFound, NotServedHere: as registry.resolve does.
        """
        return await self._references.served(reference, owner=self._owner, sticky_key=self._sticky_key)

    def served_now(self, reference: str) -> Served:
        """Return the variant of a reference; this may read the database, so it does not run in the event loop."""
        return self._references.recent(reference, owner=self._owner, sticky_key=self._sticky_key)


async def read(request: Request, resolver: Resolver, *, settings: Settings) -> Asked:
    """Return the request that a body contains.

    Raises:
        InvalidBody, MalformedRequest, WrongContentType, UnknownQuery: if it has none of the formats.
        WrongCharset: if it is text in a charset that is not read.
        InvalidRequest: if X-Request-Deadline can't be used.
        ModelNotFound, NotServedHere: as early as the model is known.
        NotCalibrated, NoConfidence: if the model can't give the certainty that is asked for.
        UrlsAreOff, UrlRefused, UrlNotFetched: if a file can't be fetched.
        BodyTooLarge, BodyTooSlow, TooManyBodies: as `bodies.chunks` does.
    """
    given, arrival = bodies.content_type(request), arrival_of(request)
    if given == "application/json":
        refuse_query_besides(request, set())
        return await _from_json(request, resolver, arrival, settings=settings)
    if given == "multipart/form-data":
        refuse_query_besides(request, TARGET)
        return await _from_form(request, resolver, arrival, settings=settings)
    if is_raw(given):
        refuse_query_besides(request, TARGET)
        target, encoding = bodies.check(Target, dict(request.query_params)), charsets.encoding_of(request)
        served = await resolver.served(target.model)
        body = await bodies.read(request, max_bytes=settings.predict_max_bytes)
        raw = Raw(body, given, encoding)
        return await _from_raw(raw, target, resolver, arrival, served=served, settings=settings)
    kinds = ["application/json", "multipart/form-data", *media_types(), *example_rows.MEDIA_TYPES]
    raise bodies.WrongContentType(f"{bodies.what_came(given)}; send {', '.join(kinds)} or {OCTETS}")


def prepare(
    request: Request, resolver: Resolver, *, settings: Settings
) -> Callable[[bytes], Coroutine[Any, Any, Asked]] | None:
    """Return what reads the whole bodies behind a request's head; None: a form, whose head is never the same twice.

    Raises:
        InvalidBody, UnknownQuery, InvalidRequest, WrongCharset: as `read` does.
    """
    given, limit_s = bodies.content_type(request), limit_in(request)
    if given == "application/json":
        refuse_query_besides(request, set())

        async def from_json(body: bytes) -> Asked:
            arrival = Arrival(time.monotonic(), limit_s)
            return await _from_document(request, body, resolver, arrival, settings=settings)

        return from_json
    if not is_raw(given):
        return None
    refuse_query_besides(request, TARGET)
    target, encoding = bodies.check(Target, dict(request.query_params)), charsets.encoding_of(request)

    async def from_raw(body: bytes) -> Asked:
        arrival, served = Arrival(time.monotonic(), limit_s), await resolver.served(target.model)
        raw = Raw(body, given, encoding)
        return await _from_raw(raw, target, resolver, arrival, served=served, settings=settings)

    return from_raw


def media_types() -> list[str]:
    """Return the content types of a body that is one example of a task; `*` stands for a whole kind."""
    return list(dict.fromkeys(each for contract in rooms.TASKS for each in contract.media_types))


def is_raw(content_type: str) -> bool:
    """Return whether a body with this content type is one raw example, or has one in each row."""
    return is_one_example(content_type) or content_type in example_rows.MEDIA_TYPES


def is_one_example(content_type: str) -> bool:
    """Return whether a body with this content type is one raw example."""
    kind = content_type.partition("/")[0] + "/*"
    types = [contract.media_types for contract in rooms.TASKS]
    return content_type == OCTETS or any(content_type in each or kind in each for each in types)


async def _from_json(request: Request, resolver: Resolver, arrival: Arrival, *, settings: Settings) -> Asked:
    most_bytes = settings.predict_max_bytes
    parts: list[bytes] = []
    async for part in bodies.chunks(request, max_bytes=most_bytes):
        if not parts and len(part) != bodies.check_length(request, max_bytes=most_bytes):
            first = FIRST_KEY.match(part)
            if first:  # more is to come: not for a model that is not there
                await resolver.served(first[1].decode())
        parts.append(part)
    return await _from_document(request, await bodies.joined(parts), resolver, arrival, settings=settings)


async def _from_document(
    request: Request, body: bytes, resolver: Resolver, arrival: Arrival, *, settings: Settings
) -> Asked:
    most_examples = settings.predict_max_inputs
    try:
        given = await bodies.parsed(request, body)
    except TooManyValues:
        _refuse_count("/inputs", most_examples)
    inputs = given.get("inputs") if isinstance(given, dict) else None
    if isinstance(inputs, list) and len(inputs) > most_examples:  # before each of many is looked at
        _refuse_count("/inputs", most_examples)
    wanted = bodies.check(_request_with(await _kind_of(given, resolver)), given)
    served = await resolver.served(wanted.model)
    pointers = [f"/inputs/{index}" for index in range(len(wanted.inputs))]
    examples = await resolver.files.fetched(wanted.inputs, pointers)
    return _asked(served, wanted, _work(examples, pointers, wanted, arrival), settings)


async def _kind_of(given: Any, resolver: Resolver) -> Any:  # noqa: ANN401  any JSON; any of pydantic's types
    """Return what an example is for the model of a request; where there is no such model, for any task."""
    model = given.get("model") if isinstance(given, dict) else None
    if isinstance(model, str):
        with suppress(registry.ModelNotFound, registry.NotServedHere):  # told once the rest of the request is right
            return json_type_of(rooms.contract_of(rooms.task_of((await resolver.served(model)).card)))
    return functools.reduce(operator.or_, map(json_type_of, rooms.TASKS))


@functools.cache
def _request_with(kind: Any) -> type[PredictRequest]:  # noqa: ANN401  any of pydantic's types
    """Return the shape of a JSON body whose examples are of one kind."""
    field = PredictRequest.model_fields["inputs"]
    return create_model("PredictRequest", __base__=PredictRequest, inputs=(list[kind], field))


async def _from_form(request: Request, resolver: Resolver, arrival: Arrival, *, settings: Settings) -> Asked:
    query: dict[str, Any] = dict(request.query_params)
    if "model" in query:
        await resolver.served(query["model"])
    form = _Form(query, most_examples=settings.predict_max_inputs, resolve=resolver.served_now)
    body = bodies.chunks(request, max_bytes=settings.predict_max_bytes)
    await multipart.receive(body, content_type=request.headers["content-type"], opener=form.open)
    target = bodies.check(Target, query | {name: field.text for name, field in form.fields.items()})
    if not form.files:
        message = f"no {rooms.example()} came; send one or many fields `files`"
        raise bodies.InvalidBody(message, errors=[FieldError("/files", "missing", message)])
    served = await resolver.served(target.model)
    is_large = sum(map(len, form.files)) > bodies.LARGE_BYTES
    contract = rooms.contract_of(rooms.task_of(served.card))
    examples = await run_in_threadpool(form.examples, contract) if is_large else form.examples(contract)
    pointers = [f"/files/{index}" for index in range(len(examples))]
    return _asked(served, target, _work(examples, pointers, target, arrival), settings)


async def _from_raw(
    raw: "Raw", target: Target, resolver: Resolver, arrival: Arrival, *, served: Served, settings: Settings
) -> Asked:
    contract = rooms.contract_of(rooms.task_of(served.card))
    if raw.content_type not in example_rows.MEDIA_TYPES or raw.content_type in contract.media_types:
        example = contract.received(raw.in_utf_8())
        return _asked(served, target, _work([example], [BODY], target, arrival), settings)
    most = settings.predict_max_inputs

    def read() -> list[Any]:
        return example_rows.read(raw.in_utf_8(), raw.content_type, contract, most=most)

    rows = await run_in_threadpool(read) if len(raw.body) > bodies.LARGE_BYTES else read()
    if len(rows) > most:
        _refuse_count("/rows", most)
    pointers = [f"/rows/{number}" for number in range(len(rows))]
    examples = await resolver.files.fetched(rows, pointers)
    return _asked(served, target, _work(examples, pointers, target, arrival), settings)


def _asked(served: Served, wanted: Target | PredictRequest, work: Work, settings: Settings) -> Asked:
    if wanted.explain:
        explanations.check_count(work.examples)
    sure = certainty.of(served, wanted, device=settings.device)
    return Asked(served, wanted.top_k, work, sure, wanted.explain, wanted.explanation_method)


def _work(examples: list[Example], pointers: list[str], wanted: Target | PredictRequest, arrival: Arrival) -> Work:
    return Work(examples, pointers, arrival.deadline_s(wanted.timeout), wanted.priority or DEFAULT)


class _Form:
    """A form's fields and files as they arrive."""

    def __init__(self, query: dict[str, Any], *, most_examples: int, resolve: Callable[[str], Served]) -> None:
        self.fields: dict[str, multipart.TextField] = {}
        self.files: list[bytearray] = []
        self._query = query
        self._most_examples = most_examples
        self._resolve = resolve

    def examples(self, contract: Contract) -> list[Example]:
        """Return the files, as the task takes them."""
        return [contract.received(bytes(file)) for file in self.files]

    def open(self, name: str, _file_name: str | None) -> multipart.Sink:
        """Return the sink of a part."""
        if name in {"files", "file"}:
            if len(self.files) == self._most_examples:
                _refuse_count("/files", self._most_examples)
            if not self.files and "model" in self.fields:  # it came whole, and before all files
                self._resolve(self.fields["model"].text)
            self.files.append(bytearray())
            return _File(self.files[-1])
        if name not in TARGET:
            raise multipart.BadMultipart(f"the form has a field {name!r}; {nearest(name, [*sorted(TARGET), 'files'])}")
        if name in self.fields or name in self._query:
            where = "two fields" if name in self.fields else "a query parameter and a field"
            raise multipart.BadMultipart(f"the form has {where} {name!r}; send only one")
        return self.fields.setdefault(name, multipart.TextField(name))


@dataclass(frozen=True)
class _File:
    data: bytearray

    def write(self, data: bytes) -> None:
        self.data.extend(data)


def _refuse_count(pointer: str, most: int) -> NoReturn:
    allowed = counted(most, rooms.example(), rooms.examples())
    message = f"at most {allowed} may come at once; send the others in another request"
    raise bodies.InvalidBody(message, errors=[FieldError(pointer, "too_many_inputs", message, {"maxItems": most})])
