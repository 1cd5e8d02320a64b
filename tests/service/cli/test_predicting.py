"""Images of `espalier predict` in requests: their number, their size, and what is done when one is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from typer.testing import CliRunner

from service.cli import predicting
from service.cli.client import Refused
from service.cli.main import app
from service.cli.session import Session
from service.inference import explanations
from tests.service.live_service import Service as LiveService
from tests.service.live_service import a_plain_image
from tests.service.onnx_files import write_colour_net


class Service:
    """A service that takes a few images at a time, and can't read some of them."""

    def __init__(self, *, most: int, broken: Sequence[str] = ()) -> None:
        self.most, self.broken = most, broken
        self.asked: list[tuple[str, list[str]]] = []

    def predict(self, model: str, contents: Sequence[tuple[str, bytes]], *, top_k: int) -> dict[str, Any]:
        return self._answer(model, [name for name, _ in contents], place="/files/{}", top_k=top_k)

    def predict_values(self, model: str, inputs: Sequence[Any], *, top_k: int) -> dict[str, Any]:
        return self._answer(model, [json.dumps(value) for value in inputs], place="/inputs/{}/0", top_k=top_k)

    def _answer(self, model: str, names: list[str], *, place: str, top_k: int) -> dict[str, Any]:
        if len(names) > self.most:
            raise Refused({"code": "invalid_body", "errors": [{"pointer": "/files", "code": "too_many_inputs"}]})
        for position, name in enumerate(names):
            if name in self.broken:
                raise Refused({"errors": [{"pointer": place.format(position), "message": "cut short"}]})
        self.asked.append((model, names))
        answer = {"model": "leaves", "version": 3, "variant": "int8", "provider": "cpu"}
        return answer | {
            "predictions": [{"label": name, "top": [{"label": name, "probability": 1.0}][:top_k]} for name in names]
        }


def ask(service: Service, images: list[Path]) -> predicting.Answers:
    session = Session(url=None, api_key=None, as_json=True)
    session.__dict__["client"] = service
    return predicting.ask(session, "leaves", images, {"top_k": 1})


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for path in paths:
        path.write_bytes(b"x" * 100)
    return paths


def test_a_request_that_is_too_much_is_sent_in_halves(images: list[Path]) -> None:
    service = Service(most=3)

    answers = ask(service, images)

    assert answers.files == [str(path) for path in images]
    assert [prediction["label"] for prediction in answers.predictions] == [path.name for path in images]
    assert max(len(names) for _, names in service.asked) <= 3


def test_what_can_not_be_read_is_named_and_the_others_are_answered(images: list[Path]) -> None:
    answers = ask(Service(most=10, broken=["2.png", "7.png"]), images)

    assert answers.refused == [{"file": str(images[number]), "message": "cut short"} for number in (2, 7)]
    assert len(answers.predictions) == 8


def test_all_requests_are_answered_by_the_file_that_answered_the_first(images: list[Path]) -> None:
    service = Service(most=4)

    ask(service, images)

    assert [model for model, _ in service.asked][:1] == ["leaves"]
    assert {model for model, _ in service.asked[1:]} == {"leaves:3/int8"}


def test_a_refusal_of_one_image_alone_is_not_tried_for_ever(images: list[Path]) -> None:
    with pytest.raises(Refused):
        ask(Service(most=0), images)


def test_requests_are_bounded_in_number_and_bytes(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "MOST_BYTES", 350)
    images[5].write_bytes(b"x" * 1000)

    sizes = [len(batch) for batch in predicting.batches(images, most=4)]

    assert sizes == [3, 2, 1, 3, 1]


def test_images_in_folders_are_known_by_content_or_suffix_and_what_systems_leave_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1.tga", "2.heic", "3.png", "._3.png", "notes.md"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "4.jpg").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "linked").symlink_to("../elsewhere")
    session = Session(url=None, api_key=None, as_json=True)
    session.__dict__["client"] = Service(most=10, broken=["2.heic"])

    with pytest.raises(typer.Exit):
        predicting.predict(
            typer.Context(click.Command("predict"), obj=session), "leaves", [tmp_path, tmp_path / "folder"], top_k=1
        )

    told = capsys.readouterr()
    document = json.loads(told.out)
    assert [str(Path(file).relative_to(tmp_path)) for file in document["files"]] == [
        "1.tga",
        "3.png",
        "elsewhere/4.jpg",
        "folder/linked/4.jpg",
    ]
    assert [each["file"] for each in document["refused"]] == [str(tmp_path / "2.heic")]
    assert "2 files in these folders are not images" in told.err


def test_each_line_of_a_jsonl_file_is_sent_as_a_json_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text("[1, 2]\n\n[3]\n[4]\n")
    (tmp_path / "1.png").write_bytes(b"x")
    session = Session(url=None, api_key=None, as_json=True)
    service = session.__dict__["client"] = Service(most=10, broken=["[3]"])

    with pytest.raises(typer.Exit):
        predicting.predict(
            typer.Context(click.Command("predict"), obj=session),
            "leaves",
            [tmp_path / "rows.jsonl", tmp_path / "1.png"],
            top_k=1,
        )

    document = json.loads(capsys.readouterr().out)
    assert [Path(file).name for file in document["files"]] == ["1.png", "rows.jsonl:1", "rows.jsonl:4"]
    assert [names for _, names in service.asked] == [["1.png"], ["[1, 2]", "[4]"]]
    assert document["refused"] == [{"file": f"{tmp_path / 'rows.jsonl'}:3", "message": "cut short"}]


def test_a_line_that_is_not_json_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("[1, 2]\n[3,\n")

    with pytest.raises(typer.Exit):
        predicting.predict(
            typer.Context(click.Command("predict"), obj=Session(url=None, api_key=None, as_json=True)),
            "leaves",
            [path],
            top_k=1,
        )

    assert f"{path}:2" in capsys.readouterr().err


def test_heat_maps_are_written_to_a_folder_and_named_after_the_files(
    service: LiveService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.publish("colours", write_colour_net(tmp_path / "net.onnx"))
    monkeypatch.chdir(tmp_path)
    for number in range(5):  # more than are explained at once
        Path(f"{number}.png").write_bytes(a_plain_image((250, 50 * number, 0)))

    files = [f"{number}.png" for number in range(5)]
    shown = CliRunner().invoke(app, ["--url", service.url, "--json", "predict", "colours", *files, "--explain", "maps"])

    assert shown.exit_code == 0, shown.output
    explained = [each["explanation"] for each in json.loads(shown.stdout)["predictions"]]
    assert [each["file"] for each in explained] == [f"maps/{number + 1}-{number}.png" for number in range(5)]
    assert all(Path(each["file"]).read_bytes().startswith(b"\x89PNG") for each in explained)
    assert predicting.MOST_EXPLAINED == explanations.MOST_EXPLAINED
