"""Which variant `espalier models download` fetches when none is named, from a real service."""

import json
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from models_store.storage import tables
from service.cli.main import app
from tests.service.live_service import Service
from tests.service.onnx_files import write_colour_net


@pytest.mark.parametrize(
    ("defaults", "fetched"),
    [
        ({"cpu": "int8", "cuda": "fp16"}, "int8"),
        ({"cuda": "fp16"}, "fp16"),
        ({}, "fp32"),
    ],
)
def test_a_download_of_no_variant_is_what_answers_on_a_cpu_or_else_on_the_only_provider(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defaults: dict[str, str], fetched: str
) -> None:
    name = f"net-{fetched}"
    service.publish(name, write_colour_net(tmp_path / "net.onnx"), variants=("fp32", "int8", "fp16"))
    with service.context.database.write() as connection:
        connection.execute(update(tables.version).where(tables.version.c.model == name).values(defaults=defaults))
    monkeypatch.chdir(tmp_path)

    downloaded = CliRunner().invoke(app, ["--url", service.url, "--json", "models", "download", name])

    assert json.loads(downloaded.stdout)["file"] == f"{name}-1-{fetched}.onnx"
    assert (tmp_path / f"{name}-1-{fetched}.onnx").is_file()
