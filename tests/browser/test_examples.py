"""The examples of docs/portable.md, run as a user runs them: in Python, and in a real browser."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import browser
from tests.browser.photographs import SIZE, label_outputs, photographs, write_looking_net, write_measuring_net
from tests.samples import quick_settings
from tests.service.live_service import running
from workers.tasks.image import any_size

in_a_browser = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())

TYPE_A_PHOTOGRAPH = """
  const page = document.createElement("iframe");
  page.src = "/predict.html";
  page.onload = async () => {
    const give = async (id, name, url) => {
      const files = new DataTransfer();
      files.items.add(new File([await (await fetch(url)).blob()], name));
      const field = page.contentDocument.getElementById(id);
      field.files = files.files;
      await field.onchange();
    };
    await give("model", "any-size.onnx", "/model.onnx");
    await give("photos", "wide.jpg", "/images/0");
    await tell({ said: page.contentDocument.getElementById("answers").textContent });
  };
  document.body.append(page);
"""


class Portable:
    """A model as a file for elsewhere, and as the file that is served."""

    def __init__(self, folder: Path, *, channels: int, write_net: Callable[..., list[str]] = write_looking_net) -> None:
        self.folder, self.channels = folder, channels
        self.fixed, self.path = folder / "fp32.onnx", folder / "any-size.onnx"
        self.labels = write_net(self.fixed, channels=channels)
        any_size.write_any_size(self.fixed, self.path, fit="crop")

    def in_python(self, images: dict[str, bytes]) -> list[tuple[str, float]]:
        """Return the likeliest answer to each image and its probability, as the example prints them."""
        for name, data in images.items():
            (self.folder / name).write_bytes(data)
        command = [sys.executable, str(browser.EXAMPLES / "predict.py"), self.path.name, *images]
        printed = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout
        lines = [line.split("  ") for line in printed.splitlines()]
        assert [line[0] for line in lines] == list(images)
        return [(label, float(share)) for label, share in (line[1].split(" ") for line in lines)]

    def in_a_browser(self, images: dict[str, bytes]) -> list[tuple[str, float]]:
        return [each[0] for each in browser.predict(self.path, list(images.values()))]

    def by_the_service(self, images: dict[str, bytes]) -> list[tuple[str, float]]:
        with running(quick_settings(self.folder / "home")) as service:
            shape = {"size": SIZE, "channels": self.channels, "fit": "crop"}
            task = "image_classification" if self.labels else "image_regression"
            service.publish("looking", self.fixed, task=task, labels=self.labels, input=shape)
            files = [("files", (name, data)) for name, data in images.items()]
            said = service.http.post("/predict", data={"model": "looking/fp32"}, files=files).raise_for_status().json()
        if not self.labels:
            return [("value", each["value"]) for each in said["predictions"]]
        return [(each["label"], each["probability"]) for each in said["predictions"]]


@pytest.mark.parametrize("example", ["predict.py", "predict.js"])
def test_the_page_of_the_docs_shows_the_examples_as_they_are(example: str) -> None:
    page = (browser.EXAMPLES.parent / "portable.md").read_text(encoding="utf-8")

    assert (browser.EXAMPLES / example).read_text(encoding="utf-8") in page


def test_python_gives_the_answers_of_the_service(tmp_path: Path) -> None:
    model, images = Portable(tmp_path, channels=3), photographs()

    assert [label for label, _ in model.in_python(images)] == [label for label, _ in model.by_the_service(images)]


def test_python_gives_the_number_of_a_model_of_numbers(tmp_path: Path) -> None:
    model, images = Portable(tmp_path, channels=3, write_net=write_measuring_net), photographs()

    said, served = model.in_python(images), model.by_the_service(images)

    assert {name for name, _ in said} == {"value"}
    assert [number for _, number in said] == pytest.approx([number for _, number in served], abs=0.05)


@in_a_browser
def test_a_browser_gives_the_number_of_a_model_of_numbers(tmp_path: Path) -> None:
    model, images = Portable(tmp_path, channels=3, write_net=write_measuring_net), photographs()
    (served,) = model.by_the_service({"odd.png": images["odd.png"]})

    (said,) = browser.predict(model.path, [images["odd.png"]])

    assert [tuple(pair) for pair in said] == [("value", pytest.approx(served[1], abs=0.05))]


@in_a_browser
@pytest.mark.parametrize(
    "label",
    [
        pytest.param("espalier.labels", id="the key of the labels"),
        pytest.param("\n\x0fespalier.labels\x12", id="the key as it stands in the file"),
        pytest.param("ä" * (1 << 20), id="two megabytes"),
    ],
)
def test_a_browser_finds_the_labels_whatever_a_class_is_called(label: str, tmp_path: Path) -> None:
    model = Portable(tmp_path, channels=3)
    labels = [label, *model.labels[1:]]
    label_outputs(model.path, labels)

    (said,) = browser.predict(model.path, [photographs()["odd.png"]])

    assert sorted(name for name, _ in said) == sorted(labels)


@in_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("channels", [3, 1, 4])
def test_python_a_browser_and_the_service_give_the_same_answers(channels: int, tmp_path: Path) -> None:
    model, images = Portable(tmp_path, channels=channels), photographs()

    in_python, in_a_browser = model.in_python(images), model.in_a_browser(images)
    served = model.by_the_service(images)

    for name, *answers in zip(images, in_python, in_a_browser, served, strict=True):
        assert len({label for label, _ in answers}) == 1, (name, answers)
        shares = [share for _, share in answers]
        assert max(shares) - min(shares) < 0.02, (name, answers)
    assert len({label for label, _ in served}) > 4


@in_a_browser
def test_the_page_answers_a_photograph_that_a_person_chooses(tmp_path: Path) -> None:
    model, images = Portable(tmp_path, channels=3), photographs()
    (label, share), *_ = model.in_python({"wide.jpg": images["wide.jpg"]})

    (said,) = browser.run(TYPE_A_PHOTOGRAPH, model=model.path, images=[images["wide.jpg"]], expecting=1)

    name, best, *_ = said.split("  ")
    assert (name, best) == ("wide.jpg", f"{label} {share:.3f}")


@in_a_browser
def test_a_page_that_fails_is_an_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(json.dumps("no model").encode())

    with pytest.raises(browser.BrowserFailed, match="the page failed"):
        browser.predict(tmp_path / "no.onnx", [b"no image"])
