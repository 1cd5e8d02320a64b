"""Reports of small made-up answers: every task, the odd splits, and a page that needs nothing from outside."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from models_store.targets import LABELS, NUMBER, ONE_CLASS
from models_store.tasks.image import evaluation
from tests.workers.evaluation.sample_reports import CLASSES, HISTORY, a_report, a_split, answers, examined
from workers.evaluation import multilabel, regression
from workers.evaluation.page import page
from workers.evaluation.pictures import training
from workers.evaluation.split_report import SplitReport, for_card

FETCHING = re.compile(
    r"""(src|href|action|data|poster|srcset)\s*=\s*["'](?!data:|#)|url\((?!#)|@import""", re.IGNORECASE
)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002  the base's
        self.names.append(tag)
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:  # noqa: ARG002  the base's
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.zip"
    a_report(path)
    return path


def text_of(written: Path, name: str) -> str:
    with ZipFile(written) as archive:
        return archive.read(name).decode()


def names_of(pictures: SplitReport) -> set[str]:
    return {picture.name for picture in pictures.pictures}


def test_the_page_needs_nothing_from_outside_and_runs_nothing(written: Path) -> None:
    text = text_of(written, "report.html")

    assert FETCHING.search(text) is None
    assert not {"script", "link", "iframe", "object", "base"} & set(Tags(text).names)
    assert Tags(text).open == []
    assert "&lt;script&gt;" in text


def test_every_picture_parses_and_stands_in_the_page(written: Path) -> None:
    document = json.loads(text_of(written, "report.json"))
    names = [picture["name"] for picture in document["pictures"]]

    with ZipFile(written) as archive:
        assert [name for name in archive.namelist() if name.startswith("pictures/")] == [f"pictures/{n}" for n in names]
        for name in names:
            content = archive.read(f"pictures/{name}")
            if name.endswith(".svg"):
                assert ET.fromstring(content).tag.endswith("svg")  # noqa: S314  our own file
            else:
                assert Image.open(io.BytesIO(content)).format == "PNG"
    tags = Tags(text_of(written, "report.html")).names
    assert tags.count("svg") == sum(name.endswith(".svg") for name in names)
    assert tags.count("img") == sum(name.endswith("mistakes.png") for name in names)
    kinds = {"confusion.svg", "f1.svg", "roc.svg", "precision-recall.svg", "reliability.svg", "mistakes.png"}
    files = {f"forms-{provider}.{kind}" for provider in ("cpu", "cuda") for kind in ("svg", "png")}
    assert set(names) == {"curves.svg"} | files | {f"{split}-{kind}" for split in ("val", "test") for kind in kinds}


def test_an_inlined_picture_takes_the_pages_ink_and_no_id_comes_twice_with_two_meanings(written: Path) -> None:
    text = text_of(written, "report.html")
    referred = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))

    assert text.count("#1c1c21") == 1
    assert referred
    for name in referred:
        assert text.count(f'id="{name}"') == 1, name


def test_the_report_holds_every_headline_figure_with_its_interval(written: Path) -> None:
    document = json.loads(text_of(written, "report.json"))

    for section in document["splits"].values():
        assert section["headline"] == list(ONE_CLASS.headline)
        assert set(section["intervals"]) == set(ONE_CLASS.headline) - set(section["undefined"])
        assert section["before_scaling"]["expected_calibration_error"] != section["expected_calibration_error"]
    assert document["history"] == HISTORY
    first = document["splits"]["test"]["mistakes"][0]
    assert first["label"] != first["answer"]
    assert first["confidence"] == max(each["confidence"] for each in document["splits"]["test"]["mistakes"])


def test_the_same_answers_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    a_report(tmp_path / "again.zip")

    assert (tmp_path / "again.zip").read_bytes() == written.read_bytes()


def test_hundreds_of_classes_are_shown_by_their_worst() -> None:
    classes = [f"class {number}" for number in range(300)]

    found = examined(a_split("test", *answers(600, 300)), classes)

    assert found.section["confusion_matrix"] is None
    assert len(found.section["confusions"]) == 20
    assert len(found.section["curves"]["roc"]) == 20
    assert "confusion_matrix" in for_card(found.section)
    assert max(len(picture.content) for picture in found.pictures if picture.name.endswith(".svg")) < 400_000


def test_one_image_is_examined_and_says_what_it_does_not_define() -> None:
    outputs, labels = answers(1, 3)

    found = examined(a_split("val", outputs, labels))

    assert found.section["images"] == 1
    assert found.section["intervals"] == {}
    assert found.section["roc_auc_macro"] is None
    assert "roc_auc_macro" in found.section["undefined"]
    assert "val-roc.svg" not in names_of(found)
    assert "val-confusion.svg" in names_of(found)


def test_answers_that_are_no_numbers_still_make_a_report() -> None:
    outputs, labels = answers(20, 3)
    outputs[4] = np.nan

    found = examined(a_split("val", outputs, labels))

    assert found.section["loss"] is None
    assert found.section["reliability"] is None
    assert "val-reliability.svg" not in names_of(found)
    assert all(each["confidence"] == each["confidence"] for each in found.section["mistakes"])


def test_right_answers_alone_have_no_contact_sheet() -> None:
    _, labels = answers(30, 3)

    found = examined(a_split("val", activate_surely(labels), labels))

    assert found.section["mistakes"] == []
    assert found.section["confusions"] == []
    assert "val-mistakes.png" not in names_of(found)


def activate_surely(labels: np.ndarray) -> np.ndarray:
    return (0.9 * np.eye(3)[labels] + 0.1 / 3).astype(np.float32)


def test_the_spec_says_how_many_mistakes_are_shown() -> None:
    split = a_split("val", *answers(200, 3))

    none = examined(split, evaluation=evaluation.ImageEvaluation(bootstrap_samples=100, mistakes=0))
    two = examined(split, evaluation=evaluation.ImageEvaluation(bootstrap_samples=100, mistakes=2))

    assert (len(none.section["mistakes"]), len(two.section["mistakes"])) == (0, 2)


def test_averaged_answers_are_reported_beside_single_ones() -> None:
    outputs, labels = answers(100, 3)
    wanted = evaluation.ImageEvaluation(
        bootstrap_samples=100, test_time_augmentation=evaluation.TestTimeAugmentation(views=4)
    )

    found = examined(a_split("val", outputs, labels, averaged_NK=activate_surely(labels)), evaluation=wanted)

    averaged = found.section["test_time_augmentation"]
    assert averaged["views"] == 4
    assert averaged["figures"]["accuracy"] == 1.0
    assert averaged["gain"]["accuracy"] == pytest.approx(1.0 - found.section["accuracy"])


def test_the_page_tells_what_averaging_gains(tmp_path: Path) -> None:
    document, pictures = a_report(tmp_path / "report.zip", count=30)
    gains = {"views": 4, "figures": {"accuracy": 0.9}, "gain": {"accuracy": 0.025}}
    document["splits"]["test"]["test_time_augmentation"] = gains

    assert "Averaged over 4 changed copies of each example: accuracy 0.9 (+0.025)." in page(document, pictures)


def test_labels_have_their_own_figures() -> None:
    generator = np.random.default_rng(0)
    members = generator.random((80, 3)) < 0.4
    members[:, 2] = False
    outputs = np.clip(members * 0.5 + generator.random((80, 3)) * 0.6, 0, 1).astype(np.float32)

    found = examined(a_split("test", outputs, members.astype(np.float32)), ["a", "b", "c"], target=LABELS)

    section = found.section
    assert section["headline"] == list(LABELS.headline)
    assert set(section["intervals"]) <= set(LABELS.headline)
    assert {"accuracy", "f1_micro", "loss"} <= set(section["intervals"])
    assert all(
        section["intervals"][name]["low"] <= section[name] <= section["intervals"][name]["high"]
        for name in ("accuracy", "exact_match", "loss", "f1_micro", "mean_average_precision")
    )
    assert section["per_class"][2]["roc_auc"] is None
    assert "no example" in section["per_class"][2]["undefined"]
    assert {each["answer"] for each in section["mistakes"]} <= {"yes", "no"}
    assert names_of(found) == {
        "test-f1.svg", "test-roc.svg", "test-precision-recall.svg", "test-reliability.svg", "test-mistakes.png",
    }  # fmt: skip


def test_figures_of_labels_are_those_of_scikit_learn() -> None:
    from sklearn import metrics as reference  # noqa: PLC0415  a second

    generator = np.random.default_rng(3)
    members = generator.random((60, 4)) < 0.5
    outputs = np.clip(members * 0.4 + generator.random((60, 4)) * 0.6, 0.01, 0.99)
    said = outputs >= 0.5

    found = multilabel.evaluate(outputs, members, list("abcd"))

    assert found["f1_micro"] == pytest.approx(reference.f1_score(members, said, average="micro"))
    assert found["f1_macro"] == pytest.approx(reference.f1_score(members, said, average="macro"))
    assert found["exact_match"] == pytest.approx(reference.accuracy_score(members, said))
    assert found["accuracy"] == pytest.approx(1 - reference.hamming_loss(members, said))
    assert found["mean_average_precision"] == pytest.approx(reference.average_precision_score(members, outputs))
    assert found["loss"] == pytest.approx(np.mean([reference.log_loss(members[:, k], outputs[:, k]) for k in range(4)]))


def test_numbers_have_errors_and_the_share_they_explain() -> None:
    true = np.linspace(0, 100, 90)[:, None]
    outputs = (true + np.random.default_rng(0).normal(size=true.shape) * 3).astype(np.float32)

    found = examined(a_split("test", outputs, true), [], target=NUMBER)

    section = found.section
    assert section["headline"] == list(NUMBER.headline) == list(section["intervals"])
    assert section["r2"] > 0.98
    assert section["mae"] == pytest.approx(np.abs(outputs - true).mean(), rel=1e-6)
    assert section["rmse"] == pytest.approx(np.sqrt(np.square(outputs - true).mean()), rel=1e-6)
    errors = [abs(each["error"]) for each in section["mistakes"]]
    assert errors == sorted(errors, reverse=True)
    assert names_of(found) == {"test-answers.svg", "test-errors.svg", "test-mistakes.png"}


def test_numbers_that_are_all_the_same_explain_nothing() -> None:
    found = regression.evaluate(np.array([1.0, 2.0]), np.array([3.0, 3.0]))

    assert found["r2"] is None
    assert "same" in found["undefined"]["r2"]
    assert found["mae"] == 1.5


def test_a_run_without_epochs_has_no_curves_and_one_that_went_astray_has_gaps() -> None:
    astray = [HISTORY[0], HISTORY[1] | {"train_loss": float("nan"), "val_loss": float("inf")}]

    assert training.curves([], best_epoch=None) is None
    assert training.curves(astray, best_epoch=1) is not None
    assert training.curves([{"epoch": 1, "lr": 0.1, "train_loss": 1.0}], best_epoch=1) is not None


@pytest.mark.parametrize(
    ("monitor", "lines"), [("val_loss", 0), ("val_balanced_loss", 1), ("val_balanced_accuracy", 1)]
)
def test_a_balanced_metric_that_picked_the_epoch_is_drawn_too(monitor: str, lines: int) -> None:
    history = [row | {"val_balanced_loss": 0.5, "val_balanced_accuracy": 0.6} for row in HISTORY]

    picture = training.curves(history, best_epoch=2, monitor=monitor)

    assert picture is not None
    assert picture.content.decode().count(">validation, balanced over classes</text>") == lines
    assert f"the best by {monitor} ({history[1][monitor]:.4g})" in picture.text


def test_without_validation_images_no_figure_picked_the_epoch() -> None:
    picture = training.curves(
        [{"epoch": 1, "lr": 0.1, "train_loss": 1.0}] * 2, best_epoch=2, monitor="val_balanced_loss"
    )

    assert picture is not None
    assert "best by" not in picture.text
    assert b"balanced over classes" not in picture.content


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_have_thumbnails(channels: int) -> None:
    outputs, labels = answers(40, 3)
    pixels = np.zeros((40, 16, 16, channels), dtype=np.uint8)
    split = a_split("val", outputs, labels)

    found = examined(type(split)("val", outputs, labels, files=split.files, show=pixels.__getitem__))

    assert "val-mistakes.png" in names_of(found)


def test_what_is_likely_to_be_wrong_stands_before_the_figures(tmp_path: Path) -> None:
    document, pictures = a_report(tmp_path / "report.zip", count=30)
    document["warnings"] = ["the model answers 'a<b' to all 30 test examples"]

    text = page(document, pictures)

    assert 0 < text.index("the model answers &#x27;a&lt;b&#x27; to all") < text.index("Headline")


def test_names_of_classes_can_not_break_out_of_the_page(tmp_path: Path) -> None:
    document, pictures = a_report(tmp_path / "report.zip", count=30)
    document["model"] = '"><img src=x onerror=alert(1)>'

    text = page(document, pictures)

    assert "<img src=x" not in text
    assert CLASSES[2] not in text


def test_the_page_of_a_task_without_backbones_or_a_dataset_names_none(tmp_path: Path) -> None:
    document, pictures = a_report(tmp_path / "report.zip")
    with_all = page(document, pictures)

    without = page(document | {"backbone": None, "dataset": None}, pictures)

    assert "image_classification · small_cnn · ds_0000000000 · images: 60 in val" in with_all
    assert "image_classification · images: 60 in val, 60 in test · 3 classes or labels" in without


def test_leaked_examples_have_figures_of_their_own() -> None:
    outputs_NK, labels_N = answers(40, 3)
    is_right_N = outputs_NK.argmax(axis=1) == labels_N
    leaked_N = is_right_N & (np.arange(40) < 20)

    section = examined(a_split("test", outputs_NK, labels_N, leaked_N=leaked_N)).section

    clean, leaked = section["leaks"]["clean"], section["leaks"]["leaked"]
    assert (clean["images"], leaked["images"]) == (40 - leaked_N.sum(), leaked_N.sum())
    assert leaked["figures"]["accuracy"] == 1.0
    assert clean["figures"]["accuracy"] == is_right_N[~leaked_N].mean() < section["accuracy"]
    assert for_card(section)["leaks"] == section["leaks"]
    assert section["leaks"]["clean"]["figures"].keys() == set(section["headline"])


def test_a_page_shows_all_clean_and_leaked_examples_beside_each_other(tmp_path: Path) -> None:
    document, pictures = a_report(tmp_path / "report.zip")
    outputs_NK, labels_N = answers(40, 3)
    section = examined(a_split("test", outputs_NK, labels_N, leaked_N=np.arange(40) < 10)).section

    shown = page(document | {"splits": document["splits"] | {"test": section}}, pictures)

    assert '<th class="number">clean (30)</th>' in shown
    assert "Leaked examples have a copy in the train split" in shown
    assert f"{section['leaks']['clean']['figures']['accuracy']:.4g}" in shown
