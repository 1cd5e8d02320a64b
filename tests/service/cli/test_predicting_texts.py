"""`espalier predict` with texts: from the command line, files, tables and standard input, and as a table."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from service.cli.main import app
from service.cli.prediction_table import prediction_table, text_cell
from tests import samples
from tests.service.live_service import Service, running
from tests.service.onnx_files import SIGNS, write_sign_net, write_sign_tokenizer

ANSWER = {"model": "reviews", "version": 1, "variant": "fp32", "provider": "CPUExecutionProvider"}
REVIEW = "房间很干净，早餐也不错，服务员态度很好，就是离地铁站有点远，下次来上海出差还会选择这家酒店，推荐给大家。"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("texts")
    with running(samples.quick_settings(folder / "home")) as live:
        live.publish("signs", write_sign_net(folder / "signs.onnx"), auxiliary=write_sign_tokenizer(folder), **SIGNS)
        yield live


def run(service: Service, *arguments: object, stdin: bytes = b"", as_json: bool = True) -> Result:
    options = ["--url", service.url, *(["--json"] if as_json else [])]
    return CliRunner().invoke(app, [*options, "predict", "signs", *map(str, arguments)], input=stdin)


def answered(result: Result) -> list[tuple[str, str]]:
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    return [(file, each["label"]) for file, each in zip(document["files"], document["predictions"], strict=True)]


def test_texts_of_the_command_line(texts: Service) -> None:
    assert answered(run(texts, "--text", "好+", "--text", "-")) == [("--text 1", "good"), ("--text 2", "bad")]


@pytest.mark.parametrize("name", ["texts.csv", "texts.tsv", "texts.jsonl", "texts.txt"])
def test_rows_and_lines_of_a_file(texts: Service, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    contents = {
        "texts.csv": '\ufefftext,label\n"+\n+",a\n-,b\n',
        "texts.tsv": "label\ttext\na\t++\n\nb\t-\n",
        "texts.jsonl": '{"text": "+", "label": "a"}\n\n{"text": "-"}\n',
        "texts.txt": "+ +\r\n\n-",
    }
    path.write_text(contents[name], newline="", encoding="utf-8")
    lines = (2, 4) if name in {"texts.csv", "texts.tsv"} else (1, 3)

    found = answered(run(texts, "--file", path))

    assert [found[0], found[-1]] == [(f"{path}:{lines[0]}", "good"), (f"{path}:{lines[1]}", "bad")]
    assert len(found) == (3 if name == "texts.txt" else 2)


def test_each_line_of_a_file_is_answered_though_it_is_blank(texts: Service, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("+\n\n \n-\n")

    of_file = json.loads(run(texts, "--file", path).stdout)
    of_stdin = json.loads(run(texts, "-", stdin=path.read_bytes()).stdout)

    assert of_file["files"] == [f"{path}:{line}" for line in (1, 2, 3, 4)]
    assert [each["empty"] for each in of_file["predictions"]] == [False, True, True, False]
    assert of_stdin["predictions"] == of_file["predictions"]


@pytest.mark.parametrize("name", ["texts.csv", "texts.jsonl", "texts.txt"])
def test_a_file_is_read_in_the_encoding_that_is_given(texts: Service, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = {"texts.csv": "text\n房间+\n", "texts.jsonl": '{"text": "房间+"}\n', "texts.txt": "房间+"}[name]
    path.write_bytes(content.encode("gb18030"))

    assert answered(run(texts, "--file", path, "--encoding", "gb18030"))[0][1] == "good"
    assert "not UTF-8" in run(texts, "--file", path).stderr
    assert "one of utf-8" in run(texts, "--file", path, "--encoding", "klingon").stderr


def test_a_text_file_without_the_option_is_one_text(texts: Service, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("+\n+\n-\n")

    assert answered(run(texts, path)) == [(str(path), "good")]


def test_each_line_of_standard_input_is_a_text(texts: Service) -> None:
    assert answered(run(texts, "-", stdin="+\n好-\n".encode())) == [("-:1", "good"), ("-:2", "bad")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("texts.csv", b"review\n+\n", "text"),
        ("texts.csv", b'text\n"+\n', "line 2"),
        ("texts.txt", b"+\n\xff\n", "byte 2 in line 2 is not UTF-8"),
        ("texts.jsonl", b'"+"\n+\n', "texts.jsonl:2: this line is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_line(
    texts: Service, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)

    result = run(texts, "--file", tmp_path / name)

    assert result.exit_code == 1
    assert said in result.stderr


def test_what_the_service_refuses_is_named_by_its_line_and_the_others_are_answered(
    texts: Service, tmp_path: Path
) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"+\na\0b\n-\n")

    result = run(texts, "--file", path)

    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["files"] == [f"{path}:1", f"{path}:3"]
    assert [each["file"] for each in document["refused"]] == [f"{path}:2"]


def test_nothing_to_predict_is_an_error(texts: Service) -> None:
    result = run(texts)

    assert result.exit_code == 1
    assert "--text" in result.stderr


def test_in_a_pipe_each_text_is_one_line_and_whole(texts: Service) -> None:
    text = f"{REVIEW * 3}\t\x1b[31m+"

    result = run(texts, "--text", text, as_json=False)

    title, header, row = result.stdout.splitlines()
    assert title.startswith("# signs:1/fp32")
    assert header.split("\t")[:3] == ["text", "answer", "probability"]
    assert row.split("\t")[:2] == [f"{REVIEW * 3} [31m+", "good"]
    assert row.endswith("\ttruncated")


def test_explanations_are_written_as_weights_and_the_heaviest_parts_are_shown(texts: Service, tmp_path: Path) -> None:
    shown = run(texts, "--text", "很+好", "--explain", tmp_path / "why", as_json=False)
    told = run(texts, "--text", "很+好", "--explain", tmp_path / "why")

    written = json.loads((tmp_path / "why" / "1-text.json").read_text())
    assert [each["text"] for each in written["weights"]] == ["很", "+", "好"]
    assert "+ +0.381" in shown.stdout
    explanation = json.loads(told.stdout)["predictions"][0]["explanation"]
    assert explanation == written | {"file": str(tmp_path / "why" / "1-text.json")}


def terminal(renderable: Any, *, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(renderable)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120])
def test_chinese_texts_fit_the_terminal_in_one_block_of_columns(width: int) -> None:
    said = {"label": "positive", "probability": 0.987, "top": [{"label": "positive", "probability": 0.987}]}
    said |= {"top": [*said["top"], {"label": "negative", "probability": 0.013}], "truncated": False}
    table = prediction_table(ANSWER | {"predictions": [said, said]}, [REVIEW, "好"], column="text")

    lines = terminal(table, width=width)

    assert max(map(cell_len, lines)) <= width
    (header,) = (line for line in lines if "probability" in line)
    (row,) = (line for line in lines if "好" in line and "0.987" in line and "房" not in line)
    at = header.index("probability") + len("probability")
    assert cell_len(row[: row.index("0.987")]) + len("0.987") == at
    assert "".join(line[: at // 2].split()[0] for line in lines if set(line) & set(REVIEW[2:]))[: len(REVIEW)] == REVIEW


def test_a_long_text_is_cut_on_a_terminal_by_its_width() -> None:
    shown = text_cell("好" * 200, whole=False)

    assert shown == "好" * 49 + "…"
    assert text_cell("a\nb\x1b[0m\u202ec", whole=False) == "a b [0m c"
