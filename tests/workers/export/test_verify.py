from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from models_store.targets import LABELS, NUMBER
from models_store.tasks.codec import Codec, Inputs, Tensor
from models_store.tasks.image.codec import ImageCodec, UndecodableImage
from tests.samples import a_png
from tests.workers.colour_nets import CODEC, a_learned_net, leaves, torch_probabilities
from workers.export.sessions import open_session
from workers.export.verify import Agreement, Family, Predict, VerificationFailed, compare, read_members, verify

DATA = leaves()
FILES = [DATA.files[row] for row in DATA.val]


def training_path() -> Predict:
    net = a_learned_net()
    return lambda rows: torch_probabilities(net, DATA.images_NHWC[rows])


def answering_wrongly_on(wrong: set[int]) -> Predict:
    right = training_path()

    def predict(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        probabilities_NK = right(rows)
        for place, row in enumerate(rows):
            if int(row) in wrong:
                probabilities_NK[place] = np.roll(probabilities_NK[place], 1)
        return probabilities_NK

    return predict


def test_a_true_export_agrees_on_every_file(exported: Path) -> None:
    agreement = verify(exported, files=FILES, rows=DATA.val, predict=training_path(), codec=CODEC, batch_size=7)

    assert (agreement.images, agreement.agreeing, agreement.share) == (36, 36, 1.0)
    assert 0 < agreement.max_difference < 1e-5
    assert agreement.as_card()["share"] == 1.0


def test_one_differing_answer_is_let_pass_and_counted(exported: Path) -> None:
    predict = answering_wrongly_on({61})

    agreement = verify(exported, files=FILES, rows=DATA.val, predict=predict, codec=CODEC)

    assert agreement.agreeing == 35
    assert agreement.max_difference > 0.1


def test_two_differing_answers_fail_and_say_how_many(exported: Path) -> None:
    predict = answering_wrongly_on({61, 90})

    with pytest.raises(VerificationFailed, match="34 of 36") as caught:
        verify(exported, files=FILES, rows=DATA.val, predict=predict, codec=CODEC)

    assert caught.value.as_problem()["code"] == "verification_failed"


def test_a_net_trained_on_other_preprocessing_is_found_out(exported: Path) -> None:
    net = a_learned_net()

    def without_normalisation(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        images_NCHW = torch.from_numpy(DATA.images_NHWC[rows]).permute(0, 3, 1, 2).float() - 128
        with torch.no_grad():
            return net(images_NCHW.flip(1)).softmax(dim=1).numpy()

    with pytest.raises(VerificationFailed):
        verify(exported, files=FILES, rows=DATA.val, predict=without_normalisation, codec=CODEC)


def test_answers_that_are_no_numbers_agree_with_nothing(exported: Path) -> None:
    with pytest.raises(VerificationFailed, match="0 of 36"):
        verify(
            exported,
            files=FILES,
            rows=DATA.val,
            predict=lambda rows: np.full((len(rows), 3), np.nan, dtype=np.float32),
            codec=CODEC,
        )


def test_nothing_to_compare_proves_nothing(exported: Path) -> None:
    with pytest.raises(VerificationFailed):
        verify(exported, files=[], rows=DATA.val[:0], predict=training_path(), codec=CODEC)


def test_a_file_that_no_longer_decodes_stops_the_verification(exported: Path) -> None:
    broken = [FILES[0][:100], *FILES[1:]]

    with pytest.raises(UndecodableImage):
        verify(exported, files=broken, rows=DATA.val, predict=training_path(), codec=CODEC)


@pytest.mark.parametrize(
    ("images", "agreeing", "enough"), [(10_000, 9_990, True), (10_000, 9_989, False), (1, 0, True), (0, 0, False)]
)
def test_enough_is_999_of_1000_or_all_but_one(images: int, agreeing: int, *, enough: bool) -> None:
    assert Agreement(images, agreeing, 0.0).enough is enough


def test_members_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.png", a_png(seed=1))
        archive.writestr("b.png", a_png(seed=2))

    assert list(read_members(tmp_path / "images.zip", ["b.png", "a.png"])) == [a_png(seed=2), a_png(seed=1)]


def of_labels(rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return torch_probabilities(a_learned_net(), DATA.images_NHWC[rows])


def test_labels_agree_when_each_is_on_the_same_side_of_a_half(exported: Path) -> None:
    def nearer_to_a_half(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.clip(of_labels(rows), 0.4, 0.6)

    def one_label_too_many(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.maximum(of_labels(rows), np.float32([0, 0, 0.6]))

    rows = DATA.val
    agreement = verify(exported, files=FILES, rows=rows, predict=nearer_to_a_half, codec=CODEC, target=LABELS)

    assert agreement.share == 1.0
    with pytest.raises(VerificationFailed, match="12 of 36"):
        verify(exported, files=FILES, rows=rows, predict=one_label_too_many, codec=CODEC, target=LABELS)


def test_numbers_agree_within_the_tolerance(exported: Path) -> None:
    def a_little_off(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return of_labels(rows) + np.float32(0.01)

    def verified(tolerance: float) -> Agreement:
        return verify(
            exported,
            files=FILES,
            rows=DATA.val,
            predict=a_little_off,
            codec=CODEC,
            target=NUMBER,
            tolerance=tolerance,
        )

    assert verified(0.011).share == 1.0
    assert verified(0.011).max_difference == pytest.approx(0.01, abs=1e-4)
    with pytest.raises(VerificationFailed, match="0 of 36"):
        verified(0.009)


def test_each_file_is_decoded_once_for_all_nets(exported: Path) -> None:
    class CountingCodec(ImageCodec):
        def decode(self, given: bytes | str, **limits: Any) -> NDArray[np.uint8]:
            decoded.append(given)
            return super().decode(given, **limits)

    decoded: list[bytes | str] = []
    codec = CountingCodec(**vars(CODEC))
    session = open_session(exported, device="cpu", threads=1)
    families = [
        Family(training_path(), {"fp32": session, "int8": session}),
        Family(answering_wrongly_on({61}), {"pruned": session}),
        Family(answering_wrongly_on({61, 90}), {"control": session}),
    ]

    found = compare(families, files=FILES, rows=DATA.val, codec=codec, batch_size=7)

    assert decoded == FILES
    assert {name: each.agreeing for name, each in found.items()} == {
        "fp32": 36,
        "int8": 36,
        "pruned": 35,
        "control": 34,
    }


class ExactCodec(ImageCodec):
    exact = True


EXACT = ExactCodec(**vars(CODEC))


def skewed_by(difference: float) -> Predict:
    """Return a net whose probabilities are all a little nearer to each other: its answers stay the same."""
    right = training_path()

    def predict(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        probabilities_NK = right(rows)
        largest_N = probabilities_NK.argmax(axis=1)
        probabilities_NK[np.arange(len(rows)), largest_N] -= np.float32(difference)
        return probabilities_NK

    return predict


def test_a_skew_that_changes_no_answer_is_refused_where_outputs_must_agree(exported: Path) -> None:
    skewed = skewed_by(0.02)
    assert verify(exported, files=FILES, rows=DATA.val, predict=skewed, codec=CODEC).share == 1.0

    with pytest.raises(VerificationFailed, match=r"differs by 0\.02 .* 36 validation files"):
        verify(exported, files=FILES, rows=DATA.val, predict=skewed, codec=EXACT)


def test_outputs_that_agree_but_for_rounding_are_let_pass(exported: Path) -> None:
    agreement = verify(exported, files=FILES, rows=DATA.val, predict=training_path(), codec=EXACT, batch_size=7)

    assert agreement.max_difference < 1e-5
    assert agreement.as_card()["batch_difference"] < 1e-5
    assert "batch_difference" not in Agreement(1, 1, 0.0).as_card()


def test_a_file_whose_answers_depend_on_the_neighbours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "leaky.onnx"
    onnx.save_model(adding_the_mean_of_the_batch(), path)
    rows = np.arange(4)

    def predict(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        numbers_N1 = rows[:, None].astype(np.float32)
        return numbers_N1 + numbers_N1.mean()

    with pytest.raises(VerificationFailed, match=r"differs by 1\.5 "):
        verify(path, files=[bytes([row]) for row in rows], rows=rows, predict=predict, codec=OneByte(), target=NUMBER)


class OneByte(Codec[int]):
    exact = True

    def describe(self) -> tuple[Tensor, ...]:
        return (Tensor("numbers", "float32", (1,)),)

    def decode(self, given: bytes, *, budget: Any = None) -> int:  # noqa: ARG002  see Codec
        return given[0]

    def collate(self, examples: Sequence[int]) -> Inputs:
        return {"numbers": np.array(examples, np.float32)[:, None]}


def adding_the_mean_of_the_batch() -> onnx.ModelProto:
    shape = ["N", 1]
    nodes = [
        onnx.helper.make_node("ReduceMean", ["numbers"], ["mean"], keepdims=1),
        onnx.helper.make_node("Add", ["numbers", "mean"], ["values"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("numbers", "values")]
    graph = onnx.helper.make_graph(nodes, "leaky", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 18)])
