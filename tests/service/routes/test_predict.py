"""POST /predict: three ways in, and what every bad input gets."""

import asyncio
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, update

from models_store.storage import tables
from models_store.storage.blobs import Blobs
from tests import samples
from tests.service.live_service import Service, a_plain_image, problem_of, running
from tests.service.onnx_files import expected_probabilities, write_colour_net
from tests.service.prediction_requests import A_LARGE_INPUT, BLUE, GREEN, RED, as_text, metric_of


@pytest.fixture(scope="module", autouse=True)
def colours(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two versions of a model, the first with two variants."""
    folder = tmp_path_factory.mktemp("onnx")
    service.publish("colours", write_colour_net(folder / "first.onnx"), variants=("fp32", "int8"))
    service.publish("colours", write_colour_net(folder / "second.onnx", name="second"))


def ask(service: Service, **body: Any) -> httpx.Response:
    return service.http.post("/predict", json={"model": "colours"} | body)


def test_json_with_base64_names_labels_version_variant_and_provider(service: Service) -> None:
    answer = ask(service, inputs=[as_text(a_plain_image(RED)), as_text(a_plain_image(BLUE))], top_k=2)

    document = answer.json()
    assert answer.status_code == 200
    assert [each["label"] for each in document["predictions"]] == ["red", "blue"]
    assert [len(each["top"]) for each in document["predictions"]] == [2, 2]
    assert {key: document[key] for key in ("model", "version", "variant", "provider")} == {
        "model": "colours",
        "version": 2,
        "variant": "fp32",
        "provider": "CPUExecutionProvider",
    }


def test_probabilities_are_those_of_the_file(service: Service) -> None:
    document = ask(service, inputs=[as_text(a_plain_image((90, 60, 30)))]).json()

    found = {each["label"]: each["probability"] for each in document["predictions"][0]["top"]}
    expected = dict(zip(("red", "green", "blue"), expected_probabilities((90, 60, 30)), strict=True))
    assert found == pytest.approx(expected, abs=1e-6)


def test_server_timing_tells_decode_queue_and_run(service: Service) -> None:
    answer = ask(service, inputs=[as_text(a_plain_image(RED))])

    assert [part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")] == [
        "decode",
        "queue",
        "run",
    ]


def test_a_form_takes_many_files(service: Service) -> None:
    files = [("files", (f"{n}.png", a_plain_image(colour))) for n, colour in enumerate((GREEN, RED, BLUE))]

    answer = service.http.post("/predict", data={"model": "colours", "top_k": "1"}, files=files)

    assert [each["label"] for each in answer.json()["predictions"]] == ["green", "red", "blue"]


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream"])
def test_a_raw_image_is_the_body(service: Service, content_type: str) -> None:
    answer = service.http.post(
        "/predict",
        params={"model": "colours:1/int8", "top_k": 1},
        content=a_plain_image(GREEN),
        headers={"Content-Type": content_type},
    )

    document = answer.json()
    assert (document["predictions"][0]["label"], document["version"], document["variant"]) == ("green", 1, "int8")


def test_a_data_url_is_read(service: Service) -> None:
    answer = ask(service, inputs=["data:image/png;base64," + as_text(a_plain_image(BLUE))])

    assert answer.json()["predictions"][0]["label"] == "blue"


def test_top_k_is_cut_to_the_classes_there_are(service: Service) -> None:
    document = ask(service, inputs=[as_text(a_plain_image(BLUE))], top_k=1000).json()

    assert len(document["predictions"][0]["top"]) == 3


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"inputs": []}, "/inputs"),
        ({"inputs": "abc"}, "/inputs"),
        ({"inputs": [17]}, "/inputs/0"),
        ({"inputs": None}, "/inputs"),
        ({"inputs": ["aGk="], "top_k": 0}, "/top_k"),
        ({"inputs": ["aGk="], "top_k": "5"}, "/top_k"),
        ({"inputs": ["aGk="], "top_k": 2.5}, "/top_k"),
        ({"inputs": ["aGk="], "top_k": 1e30}, "/top_k"),
        ({"inputs": ["aGk="], "model": None}, "/model"),
        ({"inputs": ["aGk="], "model": 3}, "/model"),
        ({"input": ["aGk="]}, "/inputs"),
        ({"inputs": ["aGk="], "topk": 3}, "/topk"),
    ],
)
def test_a_bad_body_names_its_place(service: Service, changes: dict[str, Any], pointer: str) -> None:
    problem = problem_of(ask(service, **changes), 422, "invalid_body")

    assert pointer in [error["pointer"] for error in problem["errors"]]


def test_an_unknown_key_names_the_nearest(service: Service) -> None:
    problem = problem_of(ask(service, inputs=["aGk="], topk=3), 422, "invalid_body")

    assert "'top_k'" in problem["errors"][0]["message"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not base64!", "bad_base64"),
        ("aGk", "bad_base64"),
        ("aGk=\naGk=", "bad_base64"),
        ("ÄÖÜ=", "bad_base64"),
        ("", "empty_image"),
        (as_text(b"hello, world"), "image_undecodable"),
        (as_text(a_plain_image(RED)[:60]), "image_undecodable"),
        ("data:image/png,abc", "bad_base64"),
    ],
)
def test_an_input_that_is_no_image_is_named(service: Service, text: str, code: str) -> None:
    good = as_text(a_plain_image(RED))

    problem = problem_of(ask(service, inputs=[good, good, good, text]), 422, "bad_input")

    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/inputs/3", code)]


@pytest.mark.parametrize("body", [b"", b"{", b"[1,2", b'{"model": NaN}', b"\xff\xfe", b"[" * 5000, b'{"a": 1e999}'])
def test_what_is_not_json_is_malformed(service: Service, body: bytes) -> None:
    answer = service.http.post("/predict", content=body, headers={"Content-Type": "application/json"})

    problem_of(answer, 400, "malformed_request")


def test_a_key_of_megabytes_is_refused_before_a_nearest_one_is_looked_for(service: Service) -> None:
    body = b'{"' + b"k" * (4 << 20) + b'": 1}'

    answer = service.http.post("/predict", content=body, headers={"Content-Type": "application/json"})

    assert "1000" in problem_of(answer, 400, "malformed_request")["detail"]


@pytest.mark.parametrize("body", [b"[]", b"3", b'"text"', b"null", b"{}"])
def test_json_of_another_shape_is_invalid(service: Service, body: bytes) -> None:
    answer = service.http.post("/predict", content=body, headers={"Content-Type": "application/json"})

    problem_of(answer, 422, "invalid_body")


@pytest.mark.parametrize("content_type", ["text/html", "application/xml", ""])
def test_another_content_type_is_refused_with_those_that_are_read(service: Service, content_type: str) -> None:
    answer = service.http.post("/predict", content=b"abc", headers={"Content-Type": content_type})

    assert "multipart/form-data" in problem_of(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize(
    "reference",
    ["nobody", "colours:9", "colours@nobody", "colours/fp16", "colours:1/fp16", "../colours", "a\0b", "", "colours:"],
)
def test_an_unknown_model_is_not_found_and_the_answer_says_what_there_is(service: Service, reference: str) -> None:
    answer = ask(service, model=reference, inputs=[as_text(a_plain_image(RED))])

    assert problem_of(answer, 404, "model_not_found")["detail"]


def test_a_form_without_images_is_refused(service: Service) -> None:
    answer = service.http.post("/predict", files={"model": (None, "colours")})

    assert problem_of(answer, 422, "invalid_body")["errors"][0]["pointer"] == "/files"


def test_a_form_with_an_unknown_field_names_the_nearest(service: Service) -> None:
    answer = service.http.post("/predict", files={"modell": (None, "colours"), "files": a_plain_image(RED)})

    assert "'model'" in problem_of(answer, 400, "bad_multipart")["detail"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"nothing of the kind"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ncolours'),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\ncolours\r\n--x--\r\n"),
    ],
)
def test_a_broken_form_is_malformed(service: Service, content_type: str, body: bytes) -> None:
    answer = service.http.post("/predict", content=body, headers={"Content-Type": content_type})

    problem_of(answer, 400, "bad_multipart")


def test_a_query_that_json_does_not_take_is_refused(service: Service) -> None:
    answer = service.http.post("/predict?model=colours", json={"model": "colours", "inputs": ["aGk="]})

    problem_of(answer, 422, "unknown_query_parameter")


def test_a_raw_body_needs_a_model(service: Service) -> None:
    answer = service.http.post("/predict", content=a_plain_image(RED), headers={"Content-Type": "image/png"})

    assert problem_of(answer, 422, "invalid_body")["errors"][0]["pointer"] == "/model"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with tight limits."""
    home = tmp_path_factory.mktemp("narrow") / "home"
    limits = {
        "predict_max_bytes": 20_000,
        "predict_max_inputs": 3,
        "image_max_bytes": 5_000,
        "loaded_models_max_bytes": 100_000,
    }
    with running(samples.quick_settings(home, **limits)) as live:
        live.publish("colours", write_colour_net(tmp_path_factory.mktemp("onnx") / "net.onnx"))
        yield live


def test_too_many_inputs_are_refused(narrow: Service) -> None:
    problem = problem_of(ask(narrow, inputs=[as_text(a_plain_image(RED))] * 4), 422, "invalid_body")

    assert problem["errors"][0]["allowed"]["maxItems"] == 3


def test_too_many_files_are_refused(narrow: Service) -> None:
    files = [("files", ("x.png", a_plain_image(RED)))] * 4

    answer = narrow.http.post("/predict", data={"model": "colours"}, files=files)

    assert problem_of(answer, 422, "invalid_body")["errors"][0]["pointer"] == "/files"


def test_a_body_over_the_cap_is_refused_by_its_length(narrow: Service) -> None:
    problem_of(ask(narrow, inputs=["A" * 30_000]), 413, "body_too_large")


def test_a_body_over_the_cap_is_refused_while_it_streams(narrow: Service) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 1000

    answer = narrow.http.post(
        "/predict?model=colours", content=chunks(), headers={"Content-Type": "application/octet-stream"}
    )

    problem_of(answer, 413, "body_too_large")


def test_an_image_over_its_cap_is_named(narrow: Service) -> None:
    noisy = samples.a_png(size=(60, 60))

    problem = problem_of(ask(narrow, inputs=[as_text(noisy)]), 422, "bad_input")

    assert problem["errors"][0]["code"] == "image_too_large"


def test_the_least_recently_used_model_leaves_and_comes_back(narrow: Service, tmp_path: Path) -> None:
    narrow.publish("others", write_colour_net(tmp_path / "net.onnx", name="others"))
    image = as_text(a_plain_image(GREEN))

    labels = [
        ask(narrow, model=name, inputs=[image]).json()["predictions"][0]["label"]
        for name in ("colours", "others", "colours", "others")
    ]

    assert labels == ["green"] * 4
    assert len(narrow.context.sessions.loaded) == 1


@pytest.mark.parametrize("damage", ["gone", "cut short", "other bytes", "no onnx"])
def test_a_model_whose_file_is_damaged_is_unusable_and_the_service_lives_on(
    service: Service, tmp_path: Path, damage: str
) -> None:
    name = "damaged-" + damage.replace(" ", "-")
    path = write_colour_net(tmp_path / "net.onnx", name=name)
    if damage == "no onnx":
        path.write_bytes(b"this was never a model " + name.encode())
    service.publish(name, path)
    stored = stored_file(service.context.blobs, service.context.references.resolve(name, owner="local").blob)
    if damage == "gone":
        stored.unlink()
    elif damage == "cut short":
        stored.write_bytes(stored.read_bytes()[:100])
    elif damage == "other bytes":
        stored.write_bytes(stored.read_bytes().replace(b"colours", b"colourz") + b"\0")

    answer = ask(service, model=name, inputs=[as_text(a_plain_image(RED))])

    problem = problem_of(answer, 503, "model_unusable")
    assert int(answer.headers["retry-after"]) > 0
    assert str(stored) not in problem["detail"]
    assert ask(service, inputs=[as_text(a_plain_image(RED))]).status_code == 200


def stored_file(blobs: Blobs, sha256: str) -> Path:
    return blobs.local(sha256)


def test_a_file_whose_classes_are_not_the_cards_is_unusable(service: Service, tmp_path: Path) -> None:
    service.publish("mislabelled", write_colour_net(tmp_path / "net.onnx", name="mislabelled"), labels=["a", "b"])

    problem_of(ask(service, model="mislabelled", inputs=["aGk="]), 503, "model_unusable")


def test_among_a_hundred_concurrent_mixed_requests_every_answer_belongs_to_its_image(service: Service) -> None:
    chance = random.Random(3)

    async def one(client: httpx.AsyncClient, number: int) -> None:
        colours = [tuple(chance.randrange(200) for _ in range(3)) for _ in range(chance.randint(1, 4))]
        images = [a_plain_image(colour) for colour in colours]  # type: ignore[arg-type]
        if number % 5 == 0:
            images[-1] = b"broken"
        if number % 3:
            answer = await client.post(
                "/predict", json={"model": "colours", "inputs": [as_text(image) for image in images]}
            )
        else:
            answer = await client.post(
                "/predict", data={"model": "colours"}, files=[("files", ("x.png", image)) for image in images]
            )
        if number % 5 == 0:
            problem = problem_of(answer, 422, "bad_input")
            assert [error["pointer"].rpartition("/")[2] for error in problem["errors"]] == [str(len(images) - 1)]
            return
        for colour, prediction in zip(colours, answer.json()["predictions"], strict=True):
            found = {each["label"]: each["probability"] for each in prediction["top"]}
            expected = expected_probabilities(colour)  # type: ignore[arg-type]
            assert np.allclose([found["red"], found["green"], found["blue"]], expected, atol=1e-5)

    async def all_at_once() -> None:
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            await asyncio.gather(*(one(client, number) for number in range(100)))

    asyncio.run(all_at_once())


def test_a_model_is_loaded_once_however_many_ask_at_the_same_time(service: Service, tmp_path: Path) -> None:
    service.publish("popular", write_colour_net(tmp_path / "net.onnx", name="popular"))
    before = service.context.sessions.files
    image = as_text(a_plain_image(RED))

    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            body = {"model": "popular", "inputs": [image]}
            return await asyncio.gather(*(client.post("/predict", json=body) for _ in range(20)))

    answers = asyncio.run(crowd())

    assert [answer.status_code for answer in answers] == [200] * 20
    assert len(service.context.sessions.files - before) == 1


def test_a_request_that_fits_into_no_queue_is_too_large(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home", predict_queue=2)) as service:
        service.publish("colours", write_colour_net(tmp_path / "net.onnx"))

        answer = ask(service, inputs=[as_text(a_plain_image(RED))] * 3)

        assert "2 may wait" in problem_of(answer, 413, "over_budget")["detail"]
        assert ask(service, inputs=[as_text(a_plain_image(RED))]).status_code == 200


def test_the_images_of_a_client_that_hangs_up_are_withdrawn(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home", inference_lanes=1)) as service:
        service.publish("slow", write_colour_net(tmp_path / "slow.onnx", size=256, rounds=40), **A_LARGE_INPUT)
        image = as_text(a_plain_image(RED))
        assert ask(service, model="slow", inputs=[image]).status_code == 200

        with pytest.raises(httpx.ReadTimeout):
            service.http.post("/predict", json={"model": "slow", "inputs": [image] * 250}, timeout=0.3)
        assert ask(service, model="slow", inputs=[image]).status_code == 200  # after whatever is left of them

        assert sum(metric_of(service, "espalier_predicted_images_total")) == 2


def test_a_model_of_labels_answers_those_that_are_likely_and_all_probabilities(
    service: Service, tmp_path: Path
) -> None:
    path = write_colour_net(tmp_path / "labels.onnx", activation="Sigmoid", shift=-5.0)
    service.publish("tags", path, task="multilabel_classification")
    images = [as_text(a_plain_image(colour)) for colour in ((250, 250, 5), (5, 5, 5))]

    purple, black = ask(service, model="tags", inputs=images).json()["predictions"]

    assert sorted(purple["labels"]) == ["green", "red"]
    assert black["labels"] == []
    assert [each["label"] for each in purple["top"]][-1] == "blue"
    likely = 1 / (1 + np.exp(5 - 0.05 * 250))
    assert [each["probability"] for each in purple["top"]][:2] == pytest.approx([likely, likely], abs=1e-5)
    assert {each["label"] for each in black["top"]} == {"red", "green", "blue"}
    assert len(ask(service, model="tags", inputs=images, top_k=2).json()["predictions"][0]["top"]) == 2


def test_a_model_of_numbers_answers_the_number_alone(service: Service, tmp_path: Path) -> None:
    path = write_colour_net(tmp_path / "numbers.onnx", activation="Identity", outputs=1)
    service.publish("brightness", path, task="image_regression", labels=[])

    document = ask(service, model="brightness", inputs=[as_text(a_plain_image((100, 0, 0)))]).json()

    assert document["predictions"] == [{"value": pytest.approx(5.0)}]


def test_a_file_with_more_outputs_than_its_task_has_is_not_served(service: Service, tmp_path: Path) -> None:
    path = write_colour_net(tmp_path / "three.onnx", activation="Identity", name="three")
    service.publish("three", path, task="image_regression", labels=[])

    answer = ask(service, model="three", inputs=[as_text(a_plain_image(RED))])

    problem_of(answer, 503, "model_unusable")


def test_a_model_of_an_earlier_release_answers_classes(service: Service, tmp_path: Path) -> None:
    service.publish("old", write_colour_net(tmp_path / "old.onnx", name="old"), task="image_classification")
    here = service.context
    with here.database.write() as connection:
        card = connection.execute(select(tables.version.c.card).order_by(tables.version.c.id.desc())).scalars().first()
        assert card is not None
        connection.execute(
            update(tables.version)
            .where(tables.version.c.card == card)
            .values(card={name: value for name, value in card.items() if name != "task"})
        )

    document = ask(service, model="old", inputs=[as_text(a_plain_image(RED))]).json()

    assert document["predictions"][0]["label"] == "red"
    assert service.http.get("/models/old/versions/1").json()["task"] == "image_classification"


def test_images_of_16_bits_are_decoded_by_the_white_level_of_the_model(service: Service, tmp_path: Path) -> None:
    """A model of before has no `white_level` in its card, and decodes as it did."""
    service.publish("plain", write_colour_net(tmp_path / "plain.onnx", name="plain"))
    path = write_colour_net(tmp_path / "deep.onnx", name="deep")
    service.publish("deep", path, input={"size": 16, "channels": 3, "fit": "crop", "white_level": 4095})
    red_of_12_bits = b"P6 20 20 65535\n" + bytes([0x0F, 0xFF, 0, 0, 0, 0]) * 400

    def probability(model: str, image: bytes) -> float:
        answer = service.http.post(
            f"/predict?model={model}", content=image, headers={"Content-Type": "image/x-portable-anymap"}
        )
        return float(
            next(each["probability"] for each in answer.json()["predictions"][0]["top"] if each["label"] == "red")
        )

    assert probability("deep", red_of_12_bits) == pytest.approx(expected_probabilities((255, 0, 0))[0], abs=1e-5)
    assert probability("plain", red_of_12_bits) == pytest.approx(expected_probabilities((15, 0, 0))[0], abs=1e-5)
    eight_bits = [probability(model, a_plain_image(RED)) for model in ("deep", "plain")]
    assert eight_bits[0] == eight_bits[1]
    assert service.http.get("/models/deep/versions/1").json()["input"]["white_level"] == 4095


@pytest.mark.parametrize("plugin", ["PPM", "AVIF", "JPEG2000", "TGA", "PCX", "SGI", "ICO", "QOI", "DDS", "TIFF"])
def test_a_format_is_answered_as_a_png_of_the_same_picture_is(service: Service, plugin: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), BLUE).save(buffer, plugin)

    found = ask(service, inputs=[as_text(buffer.getvalue())]).json()["predictions"][0]

    assert (found["label"], found["probability"] > 0.99) == ("blue", True)


def test_a_format_that_is_not_read_is_named(service: Service) -> None:
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(40)

    answer = ask(service, inputs=[as_text(heic)])

    assert problem_of(answer, 422, "bad_input")["errors"][0]["code"] == "image_undecodable"
    assert "HEIC" in answer.text
