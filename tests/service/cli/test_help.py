import subprocess
import sys

import pytest
from typer.testing import CliRunner

from service.cli.main import app

HEAVY = ("torch", "onnxruntime", "fastapi", "pydantic", "sqlalchemy", "httpx", "celery", "redis")


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"])

    assert shown.exit_code == 0
    for command in ("up", "demo", "train", "predict", "predict-dataset", "jobs", "models", "datasets"):
        assert f" {command} " in shown.output


@pytest.mark.parametrize(
    ("group", "commands"),
    [
        ("jobs", ["list", "show", "cancel", "retry", "logs", "watch", "report", "predictions"]),
        ("models", ["list", "show", "compress", "measure", "download", "alias"]),
        ("datasets", ["list", "show", "report", "images", "upload", "export", "rename", "edit", "delete"]),
    ],
)
def test_a_groups_help_names_its_commands(group: str, commands: list[str]) -> None:
    shown = CliRunner().invoke(app, [group, "--help"])

    assert shown.exit_code == 0
    for command in commands:
        assert f" {command} " in shown.output


def test_the_command_line_starts_without_what_is_slow_to_import() -> None:
    script = f"import sys, service.cli.main; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"

    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert loaded.stdout.strip() == ""
