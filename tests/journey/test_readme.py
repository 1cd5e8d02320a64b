"""The README's journey, run as a reader pastes it; then again, with a change."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live_stack import LiveService

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "curl", "jq", "unzip")
missing = [tool for tool in TOOLS if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing), reason=f"not installed here: {', '.join(missing)}"),
]


def journey() -> str:
    """Return the README's shell block that starts with an upload."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = [
        block for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "/train" in block
    ]
    return str(found)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that looks like the checkout to the commands in the README."""
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "espalier").symlink_to(Path(sys.executable).parent / "espalier")
    return tmp_path


def run(script: str, *, service: LiveService, place: Path) -> str:
    own = {"API": service.stack.url, "ESPALIER_URL": service.stack.url, "NO_COLOR": "1"}
    ended = subprocess.run(
        [str(shutil.which("bash")), "-euo", "pipefail", "-c", script],
        cwd=place,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout


def test_the_journey_works_as_written_and_again_with_a_change(service: LiveService, place: Path) -> None:
    changed = journey().replace('"size": 128', '"size": 32').replace('"epochs": 20', '"epochs": 2')
    assert changed != journey()

    first = run(journey(), service=service, place=place)
    second = run(changed, service=service, place=place)

    assert '"name": "int8"' in first
    assert '"predictions"' in second
    assert [path.name for path in sorted(place.glob("*.onnx"))] == ["clothes-1-int8.onnx", "clothes-2-int8.onnx"]


def test_a_refusal_in_the_journey_is_shown_and_stops_it(service: LiveService, place: Path) -> None:
    with pytest.raises(AssertionError, match="dataset_not_found"):
        run(
            journey().replace("'$DATASET'", "ds_0000000000"),
            service=service,
            place=place,
        )
