import importlib.metadata
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from safetensors.numpy import save_file
from typer.testing import CliRunner

from service.cli.main import app
from tests.samples import PLAIN, a_png
from tests.service.cli.stacks import Up

Espalier = Callable[..., Result]


@pytest.fixture
def espalier(shared_stack: Up) -> Espalier:
    return lambda *words: CliRunner().invoke(app, ["--url", shared_stack.url, *map(str, words)])


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writing:
        for hue, label in enumerate(("blue", "green")):
            for index in range(20):
                writing.writestr(f"{label}/{index:02d}.png", a_png(hue=hue, seed=100 * hue + index))
    path = tmp_path_factory.mktemp("archive") / "colours.zip"
    path.write_bytes(packed.getvalue())
    return path


@pytest.fixture
def dataset(espalier: Espalier, archive: Path) -> str:
    return str(json.loads(espalier("--json", "datasets", "upload", archive).stdout)["id"])


@pytest.fixture
def spec(tmp_path: Path, dataset: str) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(PLAIN | {"name": "colours", "dataset": dataset}))
    return path


def test_an_uploaded_archive_is_listed_under_its_files_name(espalier: Espalier, dataset: str) -> None:
    listed = json.loads(espalier("--json", "datasets", "list").stdout)

    assert [(one["id"], one["name"], one["images"]) for one in listed] == [(dataset, "colours", 40)]


def test_an_upload_ends_with_what_was_checked_and_what_comes_next(espalier: Espalier, archive: Path) -> None:
    told = espalier("datasets", "upload", archive)

    dataset = json.loads(espalier("--json", "datasets", "list", "--limit", "1").stdout)[0]["id"]
    assert "40 images were read, and all of them can be decoded" in told.output
    assert "classes are balanced: 20 images each" in told.output
    assert f"\n  espalier train --dataset {dataset} --name MODEL\n" in told.output


def test_a_dataset_and_a_name_are_enough_to_train(espalier: Espalier, dataset: str) -> None:
    meant = espalier("--json", "train", "--dataset", dataset, "--name", "hues", "--dry-run")
    refused = espalier("train", "--dataset", dataset)

    assert json.loads(meant.stdout)["spec"]["dataset"] == dataset
    assert "--name" in refused.output
    assert refused.exit_code == 1


def test_a_dataset_is_shown_by_class_and_split(espalier: Espalier, dataset: str) -> None:
    shown = espalier("datasets", "show", dataset).output

    assert "green" in shown
    assert "train" in shown


def test_overrides_reach_the_spec_at_any_depth(espalier: Espalier, spec: Path) -> None:
    flips = 'augmentation=[{"kind": "random_flip"}]'
    overrides = ["training.epochs=3", flips, "augmentation.0.direction=vertical"]
    words = [word for override in overrides for word in ("--set", override)]

    answer = espalier("--json", "train", spec, "--dry-run", "--name", "hues", *words)

    resolved = json.loads(answer.stdout)["spec"]
    assert resolved["name"] == "hues"
    assert resolved["training"]["epochs"] == 3
    assert resolved["augmentation"][0]["direction"] == "vertical"


def test_a_dry_run_shows_why_each_value_was_chosen_beside_the_spec(espalier: Espalier, spec: Path) -> None:
    spec.write_text(json.dumps({name: json.loads(spec.read_text())[name] for name in ("name", "dataset")}))

    answer = espalier("train", spec, "--dry-run")

    chosen = json.loads(answer.stdout)["backbone"]["kind"]
    rows = [line.split("\t") for line in answer.stderr.splitlines() if "\t" in line]
    assert ["field", "value", "why"] in rows
    assert ["backbone.kind", f'"{chosen}"'] in [row[:2] for row in rows]
    assert "estimate: " in answer.stderr


@pytest.mark.parametrize("override", ["epochs", "=3", "training..epochs=3", "name.first=x", "augmentation.1.x=1"])
def test_an_override_of_no_place_is_refused_before_anything_is_sent(
    espalier: Espalier, spec: Path, override: str
) -> None:
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"augmentation": []}))

    refused = espalier("train", spec, "--set", override)

    assert refused.exit_code == 1
    assert override in refused.output


def test_a_problem_is_printed_with_its_place_and_what_is_allowed(espalier: Espalier, spec: Path) -> None:
    refused = espalier("train", spec, "--set", "training.epoch=3")

    assert refused.exit_code == 1
    assert "/training/epoch" in refused.output
    assert "did you mean 'epochs'" in refused.output
    assert "batch_size" in refused.output


def test_a_problem_names_each_fault_once_and_no_pattern(espalier: Espalier) -> None:
    refused = espalier("train", "--dataset", "cats", "--name", "a b")

    message = '"cats" is not an id of a dataset'
    assert refused.output.count(message) == 1
    assert refused.output.count('"a b" is not a name of a model') == 1
    assert "^" not in refused.output


def test_a_job_of_the_queue_can_be_canceled_and_stays_so(espalier: Espalier, spec: Path) -> None:
    queued = json.loads(espalier("--json", "train", spec, "--no-wait", "--set", "training.epochs=10000").stdout)

    espalier("jobs", "cancel", queued["id"])
    watched = espalier("jobs", "watch", queued["id"])

    assert watched.exit_code == 1
    assert "canceled" in watched.output
    assert f"\n  espalier jobs retry {queued['id']}\n" in watched.output
    assert json.loads(espalier("--json", "jobs", "show", queued["id"]).stdout)["state"] == "canceled"


def test_a_file_that_is_not_there_is_named(espalier: Espalier) -> None:
    refused = espalier("predict", "anything", "no-such-file.png")

    assert refused.exit_code == 1
    assert "no-such-file.png" in refused.output


def test_a_model_that_is_not_there_is_a_problem_not_a_trace(espalier: Espalier) -> None:
    refused = espalier("models", "show", "nobody")

    assert refused.exit_code == 1
    assert "model_not_found" in refused.output


def test_no_service_is_said_with_what_to_do() -> None:
    refused = CliRunner().invoke(app, ["--url", "http://127.0.0.1:9", "jobs", "list"])

    assert refused.exit_code == 1
    assert "espalier up" in refused.output


@pytest.mark.slow
def test_a_training_job_ends_in_a_model_that_predicts_and_downloads(
    espalier: Espalier, spec: Path, archive: Path, tmp_path: Path
) -> None:
    trained = espalier("train", spec, "--set", "training.epochs=3", "--set", "compression=null")
    with zipfile.ZipFile(archive) as packed:
        packed.extract("green/03.png", tmp_path)

    answer = json.loads(espalier("--json", "predict", "colours", tmp_path / "green/03.png", "--top-k", "2").stdout)
    downloaded = espalier("models", "download", "colours:1/fp32", "-o", tmp_path / "model.onnx")
    espalier("models", "alias", "colours", "stable", "1", "--variant", "fp32")
    many = espalier("--json", "predict", "colours", a_folder_of_images(tmp_path / "many", count=70, broken="red/7.png"))

    assert trained.exit_code == 0, trained.output
    assert "fp32" in trained.output
    job = json.loads(espalier("--json", "jobs", "list", "--limit", "1").stdout)[0]["id"]
    for told in (trained, espalier("jobs", "watch", job)):
        assert "colours:1 · accuracy " in told.output
        assert "\n  espalier predict colours:1 IMAGE_OR_FOLDER\n" in told.output
        assert "\x1b" not in told.output
    lines = espalier("jobs", "logs", job).output.splitlines()
    assert [line.split("epoch ")[1].split(":")[0] for line in lines if "] epoch " in line] == [
        "1 of 3",
        "2 of 3",
        "3 of 3",
    ]
    assert any("[training] training took " in line for line in lines)
    assert lines[-1].endswith("succeeded: colours:1")
    assert espalier("jobs", "logs", job, "--follow").output.splitlines() == lines
    assert (
        json.loads(espalier("--json", "jobs", "logs", job).stdout.splitlines()[-1])["message"] == "succeeded: colours:1"
    )
    assert {top["label"] for top in answer["predictions"][0]["top"]} == {"blue", "green"}
    assert downloaded.exit_code == 0
    assert (tmp_path / "model.onnx").stat().st_size > 10_000
    assert json.loads(espalier("--json", "models", "show", "colours@stable").stdout)["version"] == 1
    answered = json.loads(many.stdout)
    assert len(answered["predictions"]) == len(answered["files"]) == 69
    assert [Path(each["file"]).name for each in answered["refused"]] == ["7.png"]
    assert "red/7.png" in many.stderr
    assert many.exit_code == 1


def a_folder_of_images(folder: Path, *, count: int, broken: str) -> Path:
    (folder / "red").mkdir(parents=True)
    for index in range(count):
        (folder / "red" / f"{index}.png").write_bytes(a_png(seed=index))
    (folder / broken).write_bytes(a_png()[:100])
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_is_uploaded_as_its_archive_would_be(
    espalier: Espalier, archive: Path, dataset: str, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "colours")

    uploaded = json.loads(espalier("--json", "datasets", "upload", tmp_path / "colours").stdout)

    assert uploaded["id"] == dataset


def test_linked_folders_of_a_folder_are_uploaded_too(
    espalier: Espalier, archive: Path, dataset: str, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "colours")
    first = next(each for each in sorted((tmp_path / "colours").iterdir()) if each.is_dir())
    (tmp_path / "colours" / ".cache").mkdir()
    (tmp_path / "colours" / ".cache" / "gone").symlink_to("nowhere")
    first.rename(tmp_path / "elsewhere")
    first.symlink_to(tmp_path / "elsewhere")

    uploaded = json.loads(espalier("--json", "datasets", "upload", tmp_path / "colours").stdout)

    assert uploaded["id"] == dataset


@pytest.mark.parametrize(
    ("target", "reason"), [("nowhere.png", "missing file"), ("../..", "leads back"), ("../red", "leads back")]
)
def test_a_link_in_a_folder_that_can_not_be_followed_is_refused_by_its_name(
    espalier: Espalier, tmp_path: Path, target: str, reason: str
) -> None:
    (tmp_path / "colours" / "red").mkdir(parents=True)
    (tmp_path / "colours" / "red" / "0.png").write_bytes(a_png())
    (tmp_path / "colours" / "red" / "link").symlink_to(target)

    for words in (("datasets", "upload", tmp_path / "colours"), ("predict", "colours", tmp_path / "colours")):
        refused = espalier(*words)
        said = " ".join(refused.output.split())
        assert (refused.exit_code, "red/link" in said, reason in said) == (1, True, True)


def test_a_folder_without_a_file_is_refused(espalier: Espalier, tmp_path: Path) -> None:
    for words in (("datasets", "upload", tmp_path), ("predict", "colours", tmp_path)):
        assert str(tmp_path) in (refused := espalier(*words)).output
        assert refused.exit_code == 1


def test_the_version_is_printed(espalier: Espalier) -> None:
    assert espalier("--version").output == f"espalier {importlib.metadata.version('espalier')}\n"


def test_weights_are_added_listed_and_removed(espalier: Espalier, tmp_path: Path) -> None:
    save_file({"w": np.zeros((2, 2), np.float32)}, tmp_path / "mine.safetensors")

    added = json.loads(espalier("--json", "weights", "add", tmp_path / "mine.safetensors").stdout)

    assert (added["name"], added["parameters"]) == ("mine.safetensors", 4)
    assert added["id"] in espalier("weights", "list").output.replace("\n", "")
    assert espalier("weights", "remove", added["id"]).exit_code == 0
    assert json.loads(espalier("--json", "weights", "list").stdout) == []
