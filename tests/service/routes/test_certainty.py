"""POST /predict with a least confidence, and with the coverage of conformal sets."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from models_store.targets.conformal import COVERAGES
from tests.service.live_service import Service, a_plain_image, a_variant_card, problem_of
from tests.service.onnx_files import expected_probabilities, write_colour_net
from tests.service.prediction_requests import RED, as_text

UNSURE = (90, 60, 30)
REACHED = 0.95


def calibrated(threshold: float) -> dict[str, Any]:
    """Return the card of a variant that was calibrated on 30 examples, with one threshold for all coverages."""
    card = a_variant_card("fp32")
    levels = [
        {
            "coverage": coverage,
            "threshold": threshold if coverage <= REACHED else None,
            "test_coverage": coverage - 0.01 if coverage <= REACHED else None,
            "mean_size": 1.5 if coverage <= REACHED else None,
        }
        for coverage in COVERAGES
    ]
    card["measured"]["cpu"] |= {"conformal": {"calibrated_on": 30, "tested_on": 20, "levels": levels}}
    return card


@pytest.fixture(scope="module", autouse=True)
def models(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("onnx")
    cards = {"fp32": calibrated(0.7)}
    service.publish("classes", write_colour_net(folder / "classes.onnx"), variant_cards=cards)
    of_labels = write_colour_net(folder / "labels.onnx", activation="Sigmoid", name="labels")
    service.publish("labels", of_labels, variant_cards=cards, task="multilabel_classification")
    service.publish("older", write_colour_net(folder / "older.onnx"))


def ask(service: Service, colour: tuple[int, int, int] = UNSURE, **body: Any) -> httpx.Response:
    return service.http.post("/predict", json={"inputs": [as_text(a_plain_image(colour))]} | body)


def test_a_set_has_every_class_within_the_threshold(service: Service) -> None:
    document = ask(service, model="classes", coverage=0.9).json()

    chances = zip(("red", "green", "blue"), expected_probabilities(UNSURE), strict=True)
    expected = [name for name, chance in sorted(chances, key=lambda each: -each[1]) if chance >= 0.3]
    assert document["predictions"][0]["set"] == expected
    assert document["calibration"] == {"coverage": 0.9, "test_coverage": pytest.approx(0.89)}


def test_a_coverage_between_two_levels_takes_the_upper_one(service: Service) -> None:
    document = ask(service, model="classes", coverage=0.91).json()

    assert document["calibration"]["coverage"] == 0.95


@pytest.mark.parametrize(("model", "coverage", "part"), [("classes", 0.97, "0.95"), ("older", 0.9, "measure it again")])
def test_a_coverage_without_a_threshold_is_refused(service: Service, model: str, coverage: float, part: str) -> None:
    answer = ask(service, model=model, coverage=coverage)

    assert part in problem_of(answer, 409, "not_calibrated")["detail"]


def test_an_unsure_model_abstains(service: Service) -> None:
    sure = ask(service, RED, model="classes", min_confidence=0.5).json()["predictions"][0]
    unsure = ask(service, model="classes", min_confidence=0.9).json()["predictions"][0]

    assert sure["label"] == "red"
    assert "abstained" not in sure
    assert unsure["abstained"] is True
    assert "label" not in unsure
    assert unsure["top"]


def test_unsure_labels_are_undecided(service: Service) -> None:
    plain = ask(service, model="labels").json()["predictions"][0]
    asked = ask(service, model="labels", min_confidence=1.0, coverage=0.5).json()["predictions"][0]

    assert "undecided" not in plain
    assert asked["labels"] == []
    assert asked["undecided"]
    assert set(asked["set"]) <= {"red", "green", "blue"}


def test_queries_and_forms_ask_as_json_does(service: Service) -> None:
    image = a_plain_image(UNSURE)
    asked = {"model": "classes", "coverage": "0.9", "min_confidence": "0.9"}
    by_json = ask(service, model="classes", coverage=0.9, min_confidence=0.9).json()

    raw = service.http.post("/predict", params=asked, content=image, headers={"Content-Type": "image/png"}).json()
    form = service.http.post("/predict", data=asked, files=[("files", ("a.png", image))]).json()

    assert raw == form == by_json


@pytest.mark.parametrize(
    "changes",
    [{"coverage": 0.4}, {"coverage": 1}, {"coverage": "0.9"}, {"min_confidence": 1.1}, {"min_confidence": -1}],
)
def test_what_is_no_share_is_refused_by_its_name(service: Service, changes: dict[str, Any]) -> None:
    answer = ask(service, model="classes", **changes)

    assert problem_of(answer, 422, "invalid_body")["errors"][0]["pointer"] == f"/{next(iter(changes))}"


def test_a_model_of_numbers_has_intervals_and_no_confidence(service: Service, tmp_path: Path) -> None:
    path = write_colour_net(tmp_path / "number.onnx", activation="Identity", outputs=1)
    service.publish("numbers", path, variant_cards={"fp32": calibrated(0.25)}, task="image_regression", labels=[])

    answered = ask(service, model="numbers", coverage=0.9).json()["predictions"][0]
    refused = ask(service, model="numbers", min_confidence=0.5)

    assert answered["interval"] == pytest.approx([answered["value"] - 0.25, answered["value"] + 0.25])
    assert "coverage" in problem_of(refused, 422, "no_confidence")["detail"]
