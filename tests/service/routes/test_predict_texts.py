"""Texts over HTTP: in every format of a body, with what is noted of each and what its answer depends on."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models_store.tasks.text.tokenizers import fit
from models_store.tasks.text.tokenizers.parts import RjiebaTokenizer
from tests import samples
from tests.service.live_service import Service, a_plain_image, problem_of, running
from tests.service.onnx_files import SEEN, SIGNS, write_colour_net, write_sign_net, write_sign_tokenizer
from tests.service.prediction_requests import as_text

MOST = 8
LINES = "application/jsonl"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("texts")
    with running(samples.quick_settings(folder / "home", predict_max_inputs=MOST)) as live:
        live.publish("signs", write_sign_net(folder / "signs.onnx"), auxiliary=write_sign_tokenizer(folder), **SIGNS)
        live.publish("colours", write_colour_net(folder / "colours.onnx"))
        yield live


def ask(service: Service, *inputs: Any, **more: Any) -> httpx.Response:
    return service.http.post("/predict", json={"model": "signs", "inputs": inputs} | more)


def send(service: Service, body: bytes, content_type: str, *, model: str = "signs") -> httpx.Response:
    return service.http.post(f"/predict?model={model}", content=body, headers={"Content-Type": content_type})


def predictions(answer: httpx.Response) -> list[dict[str, Any]]:
    return list(answer.raise_for_status().json()["predictions"])


@pytest.mark.parametrize(
    "sent",
    [
        lambda service, text: send(service, text.encode(), "text/plain; charset=utf-8"),
        lambda service, text: send(service, f'text\n"{text}"\n'.encode(), "text/csv"),
        lambda service, text: send(service, f"text\tid\n{text}\t7\n".encode(), "text/tab-separated-values"),
        lambda service, text: send(service, json.dumps(text).encode(), LINES),
        lambda service, text: send(service, json.dumps({"id": 7, "text": text}).encode(), "application/x-ndjson"),
        lambda service, text: service.http.post("/predict", data={"model": "signs"}, files={"files": text.encode()}),
    ],
    ids=["plain", "csv", "tsv", "line", "object", "form"],
)
def test_a_text_gets_the_same_answer_in_every_format(
    texts: Service, sent: Callable[[Service, str], httpx.Response]
) -> None:
    text = "房间 + + - 😀"

    (expected,) = predictions(ask(texts, text))
    found = [
        predictions(sent(texts, text)) for _ in range(2)
    ]  # the second time by the hot lane, if it takes the format

    assert (expected["label"], expected["probability"]) == ("good", pytest.approx(1 / (1 + np.exp(-2))))
    assert found == [[expected], [expected]]


def test_answers_say_what_was_cut_and_what_is_empty(texts: Service) -> None:
    found = predictions(ask(texts, "+" * SEEN, "+" * (SEEN + 1), ""))

    assert [(each["truncated"], each["empty"]) for each in found] == [(False, False), (True, False), (False, True)]
    assert found[0]["probability"] == found[1]["probability"]
    assert found[2]["probability"] == 0.5


def test_images_have_no_notes(texts: Service) -> None:
    image = as_text(a_plain_image((250, 5, 5)))

    (found,) = predictions(ask(texts, image, model="colours"))

    assert found.keys() == {"label", "probability", "top"}


def test_the_inference_protocol_has_the_notes_as_parameters(texts: Service) -> None:
    data = ["+" * (SEEN + 1), "-"]
    tensor = {"name": "texts", "datatype": "BYTES", "shape": [2], "data": data}

    answer = texts.http.post("/v2/models/signs/infer", json={"inputs": [tensor]}).raise_for_status().json()

    noted = {name: json.loads(answer["parameters"][name]) for name in ("truncated", "empty")}
    assert noted == {"truncated": [True, False], "empty": [False, False]}


@pytest.mark.parametrize(
    ("inputs", "status", "code", "pointer"),
    [
        (["+", 1], 422, "invalid_body", "/inputs/1"),
        (["+", ["+"]], 422, "invalid_body", "/inputs/1"),
        ("+", 422, "invalid_body", "/inputs"),
        (["+", "a\0b"], 422, "bad_input", "/inputs/1"),
        (["+", "+" * 100_001], 413, "text_too_long", "/inputs/1"),
        (["+"] * (MOST + 1), 422, "invalid_body", "/inputs"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(
    texts: Service, inputs: Any, status: int, code: str, pointer: str
) -> None:
    answer = texts.http.post("/predict", json={"model": "signs", "inputs": inputs})

    assert [error["pointer"] for error in problem_of(answer, status, code)["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("body", "content_type", "pointer"),
    [
        (b'{"model": "signs", "inputs": ["+", "\\ud800"]}', "application/json", "/inputs/1"),
        (b'{"model": "signs", "inputs": ["+", "+' + b"+" * (1 << 20) + b'\\ud800"]}', "application/json", "/inputs/1"),
        (b'{"model": "signs", "\\udc00": 1, "inputs": ["+"]}', "application/json", ""),
        (b'"+"\n\n"a\\ud800b"\n', LINES, "/rows/1"),
        (b'{"text": "\\ud800"}\n', LINES, "/rows/0/text"),
    ],
)
def test_half_a_character_is_no_text(texts: Service, body: bytes, content_type: str, pointer: str) -> None:
    query = {} if content_type == "application/json" else {"model": "signs"}
    answer = texts.http.post("/predict", content=body, params=query, headers={"Content-Type": content_type})

    (error,) = problem_of(answer, 422, "lone_surrogate")["errors"]
    assert (error["pointer"], error["code"]) == (pointer, "lone_surrogate")
    assert "half of a surrogate pair" in error["message"]


def test_an_object_in_place_of_a_text_is_refused_with_what_is_allowed(texts: Service) -> None:
    problem = problem_of(ask(texts, {"text": "+"}), 422, "invalid_body")

    first = problem["errors"][0]
    assert (first["pointer"], first["code"]) == ("/inputs/0/text", "unknown_key")
    assert first["message"].endswith("the keys are url; or give a string in place of the object")
    assert problem["detail"].endswith("(and 1 more)")


@pytest.mark.parametrize("charset", ["gb18030", "GBK", '"gb2312"'])
def test_a_body_is_read_in_the_charset_of_its_content_type(texts: Service, charset: str) -> None:
    (expected,) = predictions(ask(texts, "房间 + + -"))

    found = [
        predictions(send(texts, "房间 + + -".encode("gb18030"), f"text/plain; charset={charset}")),
        predictions(send(texts, 'text\n"房间 + + -"\n'.encode("gb18030"), f"text/csv; charset={charset}")),
        predictions(send(texts, '"房间 + + -"\n'.encode("gb18030"), f"{LINES}; charset={charset}")),
    ]

    assert found == [[expected]] * 3


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"+", "text/plain; charset=koi8-r", 415, "wrong_charset"),
        (b"text\n+\n", "text/csv; charset=base64", 415, "wrong_charset"),
        (b"+ \xff\xff", "text/plain; charset=gb18030", 422, "invalid_body"),
        ("text\n房\n".encode("gb18030"), "text/csv", 422, "invalid_body"),
        ("房".encode("gb18030"), "text/plain", 422, "bad_input"),
    ],
)
def test_a_body_in_another_charset_is_refused(
    *, texts: Service, body: bytes, content_type: str, status: int, code: str
) -> None:
    problem = problem_of(send(texts, body, content_type), status, code)

    assert "UTF-8" in problem["detail"] or "GB18030" in problem["detail"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_end_of_a_files_last_line_is_no_part_of_the_text(texts: Service, end: str) -> None:
    text = "+" * (SEEN - 1) + "-"  # with one more it is cut
    (expected,) = predictions(ask(texts, text))
    form = texts.http.post("/predict", data={"model": "signs"}, files={"files": f"{text}{end}".encode()})

    assert predictions(send(texts, f"{text}{end}".encode(), "text/plain")) == [expected]
    assert predictions(form) == [expected]
    assert [each["truncated"] for each in predictions(ask(texts, f"{text}{end}"))] == [True]


def test_a_text_of_which_nothing_can_be_seen_is_empty(texts: Service) -> None:
    blank = [" ", "\t\r\n", "\u200b\u200d\ufe0f", "\u3000\u2800", "\u00ad"]

    found = predictions(ask(texts, *blank, "\u200b+", "."))

    assert [each["empty"] for each in found] == [True] * len(blank) + [False] * 2


def test_columns_beside_the_texts_mean_nothing_for_a_prediction(texts: Service) -> None:
    table = b"value,text,label,labels,label\nmany,+,,a;b,\n"
    lines = b'{"text": "+", "label": ["a"], "value": 1, "group": []}'

    assert [each["label"] for each in predictions(send(texts, table, "text/csv"))] == ["good"]
    assert [each["label"] for each in predictions(send(texts, lines, LINES))] == ["good"]


def test_an_empty_cell_of_a_single_column_is_a_row(texts: Service) -> None:
    found = predictions(send(texts, b'text\n+\n""\n\n-\n', "text/csv"))

    assert [each["empty"] for each in found] == [False, True, False]


def test_rows_of_a_table_are_answered_in_their_order(texts: Service) -> None:
    table = '\ufefftext,label\r\n"+,\n+",a\r\n-,b\r\n\r\n"a ""-"" +",a\r\n'

    found = predictions(send(texts, table.encode(), "text/csv"))

    assert [each["label"] for each in found[:2]] == ["good", "bad"]
    assert [each["probability"] for each in found] == pytest.approx([1 / (1 + np.exp(-4)), 1 / (1 + np.exp(-2)), 0.5])


def test_lines_of_json_may_be_texts_and_objects(texts: Service) -> None:
    lines = b'"+"\n\n{"text": "-", "label": "bad"}\r\n"\\u002b"'

    found = predictions(send(texts, lines, LINES))

    assert [each["label"] for each in found] == ["good", "bad", "good"]


@pytest.mark.parametrize(
    ("body", "content_type", "code", "pointer", "said"),
    [
        (b"review\n+\n", "text/csv", "invalid_body", "/rows", "text"),
        (b'text\n+\n"-\n', "text/csv", "invalid_body", "/rows", "line 3"),
        (b"text\n+\n\xff\n", "text/csv", "invalid_body", "/rows", "line 3"),
        (b"text\n", "text/csv", "invalid_body", "/rows", "no rows"),
        (b"", LINES, "invalid_body", "/rows", "no rows"),
        (b"text\n+\na\0b\n", "text/csv", "bad_input", "/rows/1", "NUL"),
        (b'"+"\n7\n', LINES, "invalid_body", "/rows/1", "string"),
        (b'"+"\n{"words": "-"}\n', LINES, "invalid_body", "/rows/1", "line 2 has no key 'text'"),
        (b'"+"\n' * (MOST + 1), LINES, "invalid_body", "/rows", "at most 8"),
        (b"text\n" + b"+\n" * (MOST + 1), "text/csv", "invalid_body", "/rows", "at most 8"),
    ],
)
def test_a_problem_names_the_row(
    *, texts: Service, body: bytes, content_type: str, code: str, pointer: str, said: str
) -> None:
    problem = problem_of(send(texts, body, content_type), 422, code)

    assert problem["errors"][0]["pointer"] == pointer
    assert said in problem["errors"][0]["message"]


def test_a_line_that_is_not_json_is_named(texts: Service) -> None:
    problem = problem_of(send(texts, b'"+"\n"-\n', LINES), 400, "malformed_request")

    assert problem["detail"].startswith("line 2: ")


def test_images_come_as_lines_of_json_and_as_no_table(texts: Service) -> None:
    image = as_text(a_plain_image((250, 5, 5)))

    (found,) = predictions(send(texts, json.dumps(image).encode(), LINES, model="colours"))

    assert found["label"] == "red"
    problem = problem_of(send(texts, b"image\n1\n", "text/csv", model="colours"), 415, "no_table_of_these")
    assert problem["detail"] == "images are no cells of a table; texts may come as one"


def test_a_text_is_explained_by_a_weight_for_each_of_its_parts(texts: Service) -> None:
    text = "good+ 好-好 + end"

    (plain,) = predictions(ask(texts, text))
    (explained,) = predictions(ask(texts, text, explain=True))

    explanation = explained.pop("explanation")
    weights = explanation.pop("weights")
    assert explained == plain
    assert explanation == {
        "method": "leave_one_out",
        "runs": 7,
        "largest_loss": max(each["weight"] for each in weights),
    }
    assert "".join(each["text"] for each in weights) == text
    assert all(text[each["start"] : each["end"]] == each["text"] for each in weights)
    signs = {each["text"]: np.sign(round(each["weight"], 6)) for each in weights}
    assert signs == {"good": 0, "+ ": 1, "好": 0, "-": -1, "好 ": 0, "end": 0}


def test_what_the_model_does_not_see_has_no_weight(texts: Service) -> None:
    (explained,) = predictions(ask(texts, "+" * SEEN + "-", explain=True))

    weights = explained["explanation"]["weights"]
    assert [each["text"] for each in weights] == ["+"] * SEEN


def test_an_empty_text_has_an_answer_that_depends_on_nothing(texts: Service) -> None:
    (explained,) = predictions(ask(texts, "", explain=True))

    assert explained["explanation"] == {"method": "leave_one_out", "runs": 0, "largest_loss": 0.0, "weights": []}


def test_a_model_whose_tokenizer_has_another_version_here_is_refused(texts: Service, tmp_path: Path) -> None:
    document = fit(RjiebaTokenizer(min_count=1), ["房间很干净"]).as_document()
    (tmp_path / "tokenizer.json").write_text(json.dumps(document | {"version": "0.0.1"}))
    card = SIGNS | {"input": SIGNS["input"] | {"tokenizer": {"kind": "rjieba"}}}
    auxiliary = {"tokenizer.json": tmp_path / "tokenizer.json"}
    texts.publish("older", write_sign_net(tmp_path / "older.onnx", name="older"), auxiliary=auxiliary, **card)

    answer = texts.http.post("/predict", json={"model": "older", "inputs": ["房间"]})
    by_the_protocol = texts.http.get("/v2/models/older")

    problem = problem_of(answer, 503, "tokenizer_unavailable")
    assert "rjieba 0.0.1" in problem["detail"]
    assert f"rjieba {document['version']}" in problem["detail"]
    assert by_the_protocol.status_code == 503


def test_a_version_says_what_it_takes_of_a_text(texts: Service) -> None:
    version = texts.http.get("/models/signs/versions/1").raise_for_status().json()

    assert version["input"] == SIGNS["input"]
