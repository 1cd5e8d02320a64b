"""`espalier` renames, describes and deletes: datasets, models, jobs."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from service.cli.main import app
from tests.service.live_service import Service, an_archive
from tests.service.onnx_files import write_colour_net

Espalier = Callable[..., Result]


@pytest.fixture
def espalier(service: Service) -> Espalier:
    return lambda *words, **more: CliRunner().invoke(app, ["--url", service.url, *map(str, words)], **more)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "leaves.zip"
    path.write_bytes(an_archive(seed=7))
    return path


def shown(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_a_known_archive_under_another_name_is_told_with_how_to_rename_it(espalier: Espalier, archive: Path) -> None:
    first = shown(espalier("--json", "datasets", "upload", archive, "--name", "leaves"))

    again = espalier("datasets", "upload", archive, "--name", "trees")
    as_json = shown(espalier("--json", "datasets", "upload", archive, "--name", "trees"))

    told = " ".join(again.stderr.split())
    assert f"already here as leaves ({first['id']})" in told
    assert f"espalier datasets rename {first['id']}" in told
    assert str(first["id"]) in str(as_json["note"])


def test_a_dataset_is_renamed_described_and_found_by_its_tag(espalier: Espalier, archive: Path) -> None:
    dataset = shown(espalier("--json", "datasets", "upload", archive))["id"]

    renamed = espalier("datasets", "rename", dataset, "leaves of May")
    edited = shown(espalier("--json", "datasets", "edit", dataset, "--description", "wet", "--tag", "a", "--tag", "b"))
    listed = json.loads(espalier("--json", "datasets", "list", "--tag", "b").stdout)
    card = espalier("datasets", "show", dataset).output
    cleared = shown(espalier("--json", "datasets", "edit", dataset, "--no-description", "--no-tags"))
    espalier("datasets", "rename", dataset, "leaves")

    assert "leaves of May" in renamed.output
    assert (edited["name"], edited["description"], edited["tags"]) == ("leaves of May", "wet", ["a", "b"])
    assert [one["id"] for one in listed] == [dataset]
    assert "wet" in card
    assert (cleared["description"], cleared["tags"]) == (None, [])


@pytest.mark.parametrize("options", [[], ["--description", "x", "--no-description"], ["--tag", "a", "--no-tags"]])
def test_an_edit_that_asks_for_nothing_or_two_things_is_refused(espalier: Espalier, options: list[str]) -> None:
    refused = espalier("models", "edit", "colours", *options)

    assert refused.exit_code == 1
    assert "give one of" in refused.output


def test_a_model_and_its_version_are_described_and_deleted(
    espalier: Espalier, service: Service, tmp_path: Path
) -> None:
    for _ in range(2):
        service.publish("colours", write_colour_net(tmp_path / "net.onnx"))

    model = shown(espalier("--json", "models", "edit", "colours", "--tag", "may"))
    version = shown(espalier("--json", "models", "edit", "colours:1", "--description", "the first"))
    deleted = espalier("models", "delete", "colours:1", "--yes")
    left = shown(espalier("--json", "models", "show", "colours"))
    whole = espalier("models", "delete", "colours", "-y")

    assert (model["tags"], version["description"]) == (["may"], "the first")
    assert "colours:1 is deleted" in deleted.output
    assert left["version"] == 2
    assert "colours is deleted" in whole.output
    assert espalier("models", "show", "colours").exit_code == 1


def test_a_variant_is_not_deleted_by_itself(espalier: Espalier) -> None:
    refused = espalier("models", "delete", "colours:1/int8")

    assert refused.exit_code == 1
    assert "names a variant" in refused.output


def test_a_job_is_deleted_after_its_end(espalier: Espalier, archive: Path, tmp_path: Path) -> None:
    dataset = shown(espalier("--json", "datasets", "upload", archive))["id"]
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"name": "jobs", "dataset": dataset}))
    job = shown(espalier("--json", "train", spec, "--no-wait"))["id"]

    early = espalier("jobs", "delete", job)
    espalier("jobs", "cancel", job)
    deleted = espalier("jobs", "delete", job)

    assert early.exit_code == 1
    assert "job_not_finished" in early.output
    assert f"{job} is deleted" in deleted.output
    assert espalier("jobs", "show", job).exit_code == 1


def test_a_variant_is_loaded_and_unloaded(espalier: Espalier, service: Service, tmp_path: Path) -> None:
    service.publish("resident", write_colour_net(tmp_path / "net.onnx"))

    loaded = espalier("models", "load", "resident:1/fp32")
    as_json = shown(espalier("--json", "models", "load", "resident:1"))
    unloaded = espalier("models", "unload", "resident:1/fp32")

    assert "resident:1/fp32 runs on CPUExecutionProvider (plain) and takes" in " ".join(loaded.output.split())
    assert (as_json["variant"], as_json["loaded"]) == ("fp32", True)
    assert "resident:1/fp32 is not in memory" in unloaded.output


@pytest.mark.parametrize(("answer", "is_there"), [("n", True), ("y", False)])
def test_a_person_at_a_terminal_is_asked_first(
    service: Service, tmp_path: Path, answer: str, *, is_there: bool
) -> None:
    service.publish("asked", write_colour_net(tmp_path / "net.onnx", name=f"asked-{answer}"))
    command = [sys.executable, "-m", "service.cli.main", "--url", service.url, "models", "delete", "asked"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.write(ours, f"{answer}\n".encode())
        code = process.wait(120)
    os.close(theirs)
    os.close(ours)

    assert code == (1 if is_there else 0)
    assert (service.http.get("/models/asked").status_code == 200) == is_there


def test_a_dataset_is_exported_and_its_images_are_listed(espalier: Espalier, archive: Path, tmp_path: Path) -> None:
    dataset = shown(espalier("--json", "datasets", "upload", archive))
    target = tmp_path / "exported.zip"

    exported = espalier("datasets", "export", dataset["id"], "-o", target)
    again = shown(espalier("--json", "datasets", "upload", target))
    listed = json.loads(
        espalier("--json", "datasets", "images", dataset["id"], "--class", "red", "--limit", "500").stdout
    )
    table = espalier("datasets", "images", dataset["id"], "--split", "test", "--limit", "3").output

    assert str(target) in exported.output
    assert again["id"] == dataset["id"]
    assert {each["label"] for each in listed} == {"red"}
    assert len(listed) == 12
    assert "red/" in table or "green/" in table or "blue/" in table
