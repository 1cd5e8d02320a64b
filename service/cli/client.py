"""HTTP client of the command line: calls, pages, uploads, downloads, events.

ClientError
├── Refused        the service answered with a problem document
└── Unreachable    it did not answer
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from models_store.datasets.table_formats import media_type_of
from service.cli.session import own_name

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 600.0
UPLOAD_TIMEOUT_S = (
    6 * 3600.0
)  # an upload is checked before it is answered: millions of rows take an hour on a busy host
QUIET_S = 5.0  # after this long without an event the stream is opened again where it stopped
LOST_TRIES = 12
NOT_NOW = (429, 503)
TERMINAL = ("succeeded", "failed", "canceled")

Document = dict[str, Any]


class ClientError(Exception):
    """A call did not succeed; the message is for users."""


class Refused(ClientError):
    """The service answered with a problem document (RFC 9457)."""

    def __init__(self, problem: Document) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or "the service refused the request")
        self.problem = problem


class Unreachable(ClientError):
    """The service did not answer."""


@dataclass(frozen=True)
class Event:
    """One event of a job: `kind` is state, phase, progress, metrics, log or child."""

    seq: int
    kind: str
    data: Document


class Client:
    """Calls to one service; every unsuccessful answer raises `Refused`."""

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)

    def get(self, path: str, **params: str | int | None) -> Document:
        """Return the JSON document at the path."""
        return self._document("GET", path, params=_given(params))

    def text(self, path: str, *, accept: str = "*/*", **params: str | int | None) -> str:
        """Return the text at the path, of this media type where there are several."""
        return self._call("GET", path, headers={"Accept": accept}, params=_given(params)).text

    def content(self, path: str) -> bytes:
        """Return the bytes at the path."""
        return self._call("GET", path).content

    def post(self, path: str, body: Document | None = None, *, key: str | None = None, **params: str) -> Document:
        """Post JSON; `key` makes a repeated call answer as the first did."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._document("POST", path, json=body, params=params, headers=headers)

    def put(self, path: str, body: Document) -> Document:
        """Put JSON."""
        return self._document("PUT", path, json=body)

    def patch(self, path: str, changes: Document) -> Document:
        """Change what is at the path by a JSON merge patch."""
        return self._document("PATCH", path, json=changes)

    def delete(self, path: str) -> None:
        """Delete what is at the path."""
        self._call("DELETE", path)

    def items(self, path: str, *, limit: int, **params: str | None) -> list[Document]:
        """Return up to `limit` items of a list, over as many pages as that takes."""
        found: list[Document] = []
        cursor: str | None = None
        while len(found) < limit:
            page = self.get(path, limit=min(100, limit - len(found)), cursor=cursor, **params)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def upload(
        self, path: str, file_path: Path, *, sent: Callable[[int], None], key: str | None = None, **params: str
    ) -> Document:
        """Upload a file to the path in constant memory; `sent` is called with the number of sent bytes.

        `key` makes a repeated call answer as the first did.
        """

        def body() -> Iterator[bytes]:
            with file_path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
                    sent(len(chunk))

        media_type = media_type_of(file_path.name) or "application/octet-stream"
        headers = {"Content-Type": media_type, "Content-Length": str(file_path.stat().st_size)}
        headers |= {"Idempotency-Key": key} if key else {}
        timeout = httpx.Timeout(UPLOAD_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        return self._document("POST", path, content=body(), params=params, headers=headers, timeout=timeout)

    def predict(self, model: str, contents: Sequence[tuple[str, bytes]], **options: float) -> Document:
        """Predict files, given as (name, bytes); the answer gains `server_timing`, that header's text."""
        files = [("files", (name, content, "application/octet-stream")) for name, content in contents]
        fields = {"model": model, **{name: str(value) for name, value in options.items()}}
        answer = self._call("POST", "/predict", data=fields, files=files)
        return dict(answer.json()) | {"server_timing": answer.headers.get("Server-Timing", "")}

    def predict_values(self, model: str, inputs: Sequence[Any], **options: float) -> Document:
        """Predict examples that are JSON values."""
        return dict(self.post("/predict", {"model": model, "inputs": inputs, **options}))

    def download(self, path: str, target: Path) -> str:
        """Download a file and return its SHA-256, compared with the ETag; a broken download leaves nothing behind."""
        partial = target.with_name(f".{target.name}.partial")
        digest = hashlib.sha256()
        try:
            as_stored = {"Accept-Encoding": "identity"}  # the ETag of compressed bytes is no digest
            with self._http.stream("GET", path, headers=as_stored) as answer, partial.open("wb") as file:
                if not answer.is_success:
                    answer.read()
                    raise Refused(_problem(answer))
                for chunk in answer.iter_bytes(CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
            expected = answer.headers.get("ETag", "").strip('"')
            if expected and expected != digest.hexdigest():
                raise Unreachable(f"{path}: the download is broken (SHA-256 {digest.hexdigest()}, not {expected})")
            partial.replace(target)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            partial.unlink(missing_ok=True)
        return digest.hexdigest()

    def events(self, job: str, *, meanwhile: Callable[[], None] = lambda: None) -> Iterator[Event]:
        """Follow a job to its end, as `follow` does."""
        return self.follow(f"/jobs/{job}/events", meanwhile=meanwhile)

    def follow(
        self,
        path: str,
        params: Mapping[str, str | int | None] = MappingProxyType({}),
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Iterator[Event]:
        """Follow a job's stream to its end; a broken or silent stream is opened again where it stopped.

        The same happens while the service has no room for the stream, or no database. `meanwhile` is called at each
        event and every few seconds without one.
        """
        seen, lost = 0, 0
        given = _given(params)
        timeout = httpx.Timeout(QUIET_S, connect=CONNECT_TIMEOUT_S)
        while True:
            meanwhile()
            try:
                headers = {"Accept": "text/event-stream", "Last-Event-ID": str(seen)}
                with self._http.stream("GET", path, params=given, headers=headers, timeout=timeout) as answer:
                    if answer.status_code == httpx.codes.NO_CONTENT:
                        return  # it has ended, and the end was seen
                    if not answer.is_success:
                        answer.read()
                        refused = Refused(_problem(answer))
                        if answer.status_code not in NOT_NOW:
                            raise refused
                        lost = _lost_again(lost, refused)
                        continue
                    for event in _events(answer.iter_lines()):
                        seen, lost = event.seq, 0
                        meanwhile()
                        yield event
                        if event.kind == "state" and event.data["state"] in TERMINAL:
                            return
            except httpx.ReadTimeout:
                continue
            except httpx.HTTPError as error:
                lost = _lost_again(lost, self._unreachable(error))

    def _document(self, method: str, path: str, **rest: Any) -> Document:  # noqa: ANN401  handed to httpx as it is
        answer = self._call(method, path, **rest)
        return dict(answer.json()) if answer.content else {}

    def _call(self, method: str, path: str, **rest: Any) -> httpx.Response:  # noqa: ANN401  handed to httpx as it is
        try:
            answer = self._http.request(method, path, **rest)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not answer.is_success:
            raise Refused(_problem(answer))
        return answer

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        advice = f"start one with `{own_name()} up`, or give its address with --url or ESPALIER_URL"
        return Unreachable(f"no answer from {self.url} ({error or type(error).__name__}): {advice}")


def _lost_again(lost: int, error: ClientError) -> int:
    """Wait before the next try, and return the number of failed tries; raise the error after the last one."""
    if lost + 1 == LOST_TRIES:
        raise error
    time.sleep(min(5.0, 0.25 * 2 ** (lost + 1)))
    return lost + 1


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Parse server-sent events (WHATWG HTML, section 9.2) that have an id and JSON."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:  # a line that starts with a colon is a comment: the server's sign of life
                fields[name] = value.removeprefix(" ")  # our data is one line of JSON
        else:
            if "id" in fields and "data" in fields:
                yield Event(int(fields["id"]), fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}


def _given(params: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in params.items() if value is not None}


def _problem(answer: httpx.Response) -> Document:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return problem
    return {"status": answer.status_code, "title": answer.reason_phrase, "detail": answer.text[:500] or None}
