"""Values set on the command line: where they land, and what lists begin with."""

from pathlib import Path
from typing import Any

import pytest
import typer

from models_store.spec.compression import Compression
from service.cli import specs


@pytest.mark.parametrize(
    ("given", "document"),
    [
        ("quantize.0.kind=fp16", {"quantize": [{"kind": "fp16"}]}),
        ("quantize.1.kind=fp16", {"quantize": [{"kind": "static_int8"}, {"kind": "fp16"}]}),
        ("quantize.0.calibration_images=64", {"quantize": [{"kind": "static_int8", "calibration_images": 64}]}),
        ('quantize.1={"kind": "bf16"}', {"quantize": [{"kind": "static_int8"}, {"kind": "bf16"}]}),
        ('quantize=[{"kind":"fp16"}]', {"quantize": [{"kind": "fp16"}]}),
        ("augmentation.0.kind=mixup", {"augmentation": [{"kind": "mixup"}]}),
        ("loss.class_weights.0=2", {"loss": {"class_weights": {"0": 2}}}),
    ],
)
def test_a_value_lands_in_a_list_that_was_left_out(given: str, document: dict[str, Any]) -> None:
    changed: dict[str, Any] = {}

    specs.override(changed, given)

    assert changed == document


def test_a_list_begins_with_the_kinds_of_the_specs_default() -> None:
    assert specs.LISTS["quantize"] == [{"kind": part.kind} for part in Compression().quantize]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "a", "name": "b"}', "'name' is given twice"),
        ('{"optimizer": {"lr": 1, "lr": 2}}', "'lr' is given twice"),
        ('{"lr": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_not_strict_json_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)

    with pytest.raises(typer.Exit):
        specs.read(path)

    assert said in "".join(capsys.readouterr())
