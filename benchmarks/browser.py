"""A real browser without a window that runs `docs/examples` with image files and a model, and returns the pages' text.

A server on the loopback interface gives it the examples as they lie there, the model, the images and one page more,
which calls `predict.js` and posts what it says back. Nothing is steered from outside, so that there is nothing to
install but the browser.
"""

import http.server
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--force-color-profile=srgb",
)
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # both: without them WebAssembly has one thread
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
}
ROOT_USER = 0
PAGE = """<!doctype html>
<meta charset="utf-8">
<script type="importmap">
  { "imports": { "onnxruntime-web": "/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs" } }
</script>
<script>
  const tell = (what) => fetch("/answered", { method: "POST", body: JSON.stringify(what) });
  addEventListener("error", (event) => tell({ error: event.message }));
  addEventListener("unhandledrejection", (event) => tell({ error: String(event.reason) }));
</script>
<script type="module">
  SCRIPT
</script>
"""
PREDICT_ALL = """
  import { load, predict } from "/predict.js";
  const model = await load("/model.onnx");
  for (let number = 0; number < COUNT; number++)
    await tell({ said: await predict(model, await (await fetch(`/images/${number}`)).blob()) });
"""

PREDICT_TEXTS = """
  import { load, predict } from "/predict_text.js";
  const model = await load("/model.onnx");
  const said = [];
  for (const text of await (await fetch("/images/0")).json())
    said.push(await predict(model, text).catch((error) => {
      if (error instanceof RangeError) return null;
      throw error;
    }));
  await tell({ said });
"""


class BrowserFailed(Exception):
    """The browser, or the page in it, did not answer; the message is what was heard of it."""


def missing() -> str:
    """Return what a run would lack here, as a sentence; empty when nothing is missing."""
    if not (EXAMPLES / "node_modules" / "onnxruntime-web").is_dir():
        return "onnxruntime-web is not installed: `npm ci` in docs/examples"
    if _browser() is None:
        return f"there is no browser here: none of {', '.join(NAMES)} is on the path"
    return ""


def predict(model: Path, images: Sequence[bytes], *, timeout_s: float = 120) -> list[list[tuple[str, float]]]:
    """Return what `predict.js` says of each image file, every label with its probability, the likeliest first.

    Raises:
        BrowserFailed: if the page fails, or says nothing for `timeout_s`.
    """
    script = PREDICT_ALL.replace("COUNT", str(len(images)))
    heard = run(script, model=model, images=images, expecting=len(images), timeout_s=timeout_s)
    return [[(label, share) for label, share in each] for each in heard]


def predict_texts(model: Path, texts: Sequence[str], *, timeout_s: float = 300) -> list[dict[str, float] | None]:
    """Return what `predict_text.js` says of each text, label → probability; None: it refuses the text.

    Raises:
        BrowserFailed: if the page fails, or says nothing for `timeout_s`.
    """
    (heard,) = run(PREDICT_TEXTS, model=model, images=[json.dumps(texts).encode()], expecting=1, timeout_s=timeout_s)
    return [None if each is None else dict(each) for each in heard]


def run(script: str, *, model: Path, images: Sequence[bytes], expecting: int, timeout_s: float = 120) -> list[Any]:
    """Return the first `expecting` things that a module script says by `tell({said: …})`, on a page of its own.

    Below `/` are the examples, besides them `/model.onnx` and `/images/0` and so on.

    Raises:
        BrowserFailed: if the page fails, or says nothing for `timeout_s`.
    """
    browser = _browser()
    assert browser is not None, missing()
    files = {"/model.onnx": model.read_bytes(), "/run.html": PAGE.replace("SCRIPT", script).encode()}
    files |= {f"/images/{number}": data for number, data in enumerate(images)}
    answered: queue.Queue[dict[str, Any]] = queue.Queue()
    heard: list[Any] = []
    with _serving(files, answered) as url, _showing(browser, f"{url}/run.html"):
        while len(heard) < expecting:
            try:
                what = answered.get(timeout=timeout_s)
            except queue.Empty:
                raise BrowserFailed(f"the page said {len(heard)} of {expecting} things, then nothing") from None
            if "said" not in what:
                raise BrowserFailed(f"the page failed: {what.get('error')}")
            heard.append(what["said"])
    return heard


class _Handler(http.server.SimpleHTTPRequestHandler):
    """The examples' folder, some files from memory, and an ear."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  the base class's
        files: dict[str, bytes],
        answered: "queue.Queue[dict[str, Any]]",
    ) -> None:
        self._files, self._described = files, answered
        super().__init__(*args, directory=str(EXAMPLES))

    def do_GET(self) -> None:
        data = self._files.get(self.path)
        if data is None:
            super().do_GET()
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html" if self.path.endswith(".html") else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self._described.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _serving(files: dict[str, bytes], answered: "queue.Queue[dict[str, Any]]") -> Iterator[str]:
    handler = partial(_Handler, files=files, answered=answered)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _showing(browser: str, url: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="espalier-browser-", ignore_cleanup_errors=True) as profile:
        sandbox = ["--no-sandbox"] if os.geteuid() == ROOT_USER else []  # Chromium's own needs another user
        command = [browser, *ARGUMENTS, *sandbox, f"--user-data-dir={profile}", url]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield
            finally:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()


def _browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)
