"""Lines of the access log that a test has caused."""

import json
from typing import Any

import pytest


def access_lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines of requests since the last look."""
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "request"]
