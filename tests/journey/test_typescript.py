"""Two TypeScript clients made of docs/openapi.json as docs/clients makes them: compiled strictly, used for real."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service import openapi
from tests import samples
from tests.live_stack import LiveService

pytestmark = pytest.mark.slow

SOURCES = openapi.SNAPSHOT.parent / "clients"
COPIED = ("generate.mjs", "tsconfig.json", "package.json", "openapi-fetch.ts", "hey-api.ts")


def run(*command: str | Path, folder: Path) -> str:
    ended = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both clients, generated and compiled."""
    if not (SOURCES / "node_modules" / ".made").exists():
        pytest.skip("the generators are not installed: `make check` installs them")
    folder = tmp_path_factory.mktemp("typescript")
    for name in COPIED:
        shutil.copy(SOURCES / name, folder)
    (folder / "node_modules").symlink_to(SOURCES / "node_modules")
    run("node", "generate.mjs", openapi.SNAPSHOT, "generated", folder=folder)
    run(folder / "node_modules" / ".bin" / "tsc", "--project", ".", folder=folder)
    return folder


@pytest.mark.parametrize("client", ["openapi-fetch", "hey-api"])
def test_a_typescript_client_uploads_trains_follows_and_predicts(
    service: LiveService, archive: Path, compiled: Path, client: str
) -> None:
    picture = compiled / "red.png"
    picture.write_bytes(samples.a_png(hue=2, seed=999_999))

    told: dict[str, Any] = json.loads(
        run("node", f"compiled/{client}.js", service.stack.url, archive, picture, folder=compiled)
    )

    assert (told["images"], told["state"], told["version"]) == (180, "succeeded", 1)
    assert {"state", "phase", "progress", "metrics", "log"} <= set(told["events"])
    assert told["optimizer"]
    assert told["label"] in {"blue", "green", "red"}
