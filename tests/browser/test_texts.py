"""The example of docs/text.md in a real browser: the answers of the service, and what it refuses too."""

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from benchmarks import browser
from models_store.errors import EspalierError
from models_store.settings import Settings
from models_store.tasks.text.contract import TEXT
from tests.browser.texts import LABELS, ODD, ReadingNet, write_net_of_words, write_reading_net
from tests.samples import quick_settings
from tests.service.live_service import running
from tests.tasks.text.odd_strings import odd_strings

in_a_browser = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())

TYPE_A_TEXT = """
  const page = document.createElement("iframe");
  page.src = "/predict_text.html";
  page.onload = async () => {
    const find = (id) => page.contentDocument.getElementById(id);
    const [file, text, ask, answers] = ["model", "text", "ask", "answers"].map(find);
    const files = new DataTransfer();
    files.items.add(new File([await (await fetch("/model.onnx")).blob()], "fp32.onnx"));
    file.files = files.files;
    text.value = "房间很干净";
    await ask.onclick();
    await tell({ said: answers.textContent });
  };
  document.body.append(page);
"""

Answer = dict[str, float] | None


def by_the_service(net: ReadingNet, texts: list[str], home: Path) -> list[Answer]:
    """Return the answers over HTTP; None: refused as what it is."""
    found: list[Answer] = []
    with running(quick_settings(home)) as service:
        service.publish("reading", net.path, auxiliary=net.files, **net.card)
        for text in texts:
            body = json.dumps({"model": "reading", "inputs": [text]}).encode()
            answer = service.http.post("/predict", content=body, headers={"Content-Type": "application/json"})
            if answer.is_success:
                (said,) = answer.json()["predictions"]
                found.append({each["label"]: each["probability"] for each in said["top"]})
            else:
                assert answer.status_code in {413, 422}, answer.text
                found.append(None)
    return found


def in_python(net: ReadingNet, texts: list[str], home: Path) -> list[Answer]:
    """Return the answers of the codec and the file, one text at a time; None: refused."""
    codec = TEXT.codec(net.card, files=net.files, settings=Settings(espalier_home=home))
    session = onnxruntime.InferenceSession(net.path)
    found: list[Answer] = []
    for text in texts:
        try:
            inputs: Any = codec.collate([codec.decode(text)])
        except EspalierError:
            found.append(None)
        else:
            found.append(dict(zip(LABELS, session.run(None, inputs)[0][0].tolist(), strict=True)))
    return found


def same(found: list[Answer], expected: list[Answer], texts: list[str]) -> bool:
    for text, one, other in zip(texts, found, expected, strict=True):
        assert (one is None) == (other is None), ascii(text[:50])
        if one is not None and other is not None:
            assert one == pytest.approx(other, abs=1e-5), ascii(text[:50])
    return True


def test_the_page_of_the_docs_shows_the_example_as_it_is() -> None:
    page = (browser.EXAMPLES.parent / "text.md").read_text(encoding="utf-8")

    assert (browser.EXAMPLES / "predict_text.js").read_text(encoding="utf-8") in page


@in_a_browser
@pytest.mark.parametrize("truncate", ["end", "start", "middle"])
def test_a_browser_gives_the_answers_of_the_service_or_refuses_the_same_texts(tmp_path: Path, truncate: str) -> None:
    net = write_reading_net(tmp_path, truncate=truncate)

    said = browser.predict_texts(net.path, ODD)

    served = by_the_service(net, ODD, tmp_path / "home")
    assert same(said, served, ODD)
    assert 0 < sum(each is None for each in served) < len(ODD) // 2
    assert len({round(each["bad"], 4) for each in served if each is not None}) > len(ODD) // 4


@in_a_browser
@pytest.mark.slow
def test_a_browser_and_python_agree_on_ten_thousand_odd_texts(tmp_path: Path) -> None:
    net, texts = write_reading_net(tmp_path), odd_strings()
    texts = [text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") for text in texts]

    said = browser.predict_texts(net.path, texts)

    assert same(said, in_python(net, texts, tmp_path / "home"), texts)


@in_a_browser
def test_a_browser_and_python_find_the_same_words(tmp_path: Path) -> None:
    net, texts = write_net_of_words(tmp_path), odd_strings(2_000)
    texts = [text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") for text in [*ODD, *texts]]

    said = browser.predict_texts(net.path, texts)

    assert same(said, in_python(net, texts, tmp_path / "home"), texts)
    assert len({round(each["bad"], 4) for each in said if each is not None}) > len(texts) // 4


@in_a_browser
def test_the_page_answers_a_text_that_a_person_types(tmp_path: Path) -> None:
    net = write_reading_net(tmp_path)
    (expected,) = in_python(net, ["房间很干净"], tmp_path / "home")
    assert expected is not None
    (label, share), *_ = sorted(expected.items(), key=lambda pair: -pair[1])

    (said,) = browser.run(TYPE_A_TEXT, model=net.path, images=[], expecting=1)

    text, best, *_ = said.split("  ")
    assert (text, best) == ("房间很干净", f"{label} {share:.3f}")
