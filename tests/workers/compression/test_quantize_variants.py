import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models_store.spec.quantization import DynamicInt8, StaticInt8, WeightsInt4
from tests.workers.colour_nets import LABELS, leaves
from tests.workers.compression.tiny_graphs import Graph, some_images
from workers.compression.quantization.calibration import CalibrationExamples
from workers.compression.quantization.dynamic import quantize_dynamic
from workers.compression.quantization.failures import QuantizationImpossible
from workers.compression.quantization.floats import halve
from workers.compression.quantization.loading import require_no_crash
from workers.compression.quantization.static import quantize_static
from workers.compression.quantization.weights import round_weights_to_4_bits, round_weights_to_8_bits
from workers.export.sessions import open_session

DATA = leaves()
IMAGES = some_images()
Make = Callable[[Path, Path], dict[str, Any]]
VARIANTS: dict[str, Make] = {
    "dynamic_linear": lambda source, target: quantize_dynamic(source, target, part=DynamicInt8()),
    "dynamic_all": lambda source, target: quantize_dynamic(source, target, part=DynamicInt8(layers="all")),
    "weights_int8": round_weights_to_8_bits,
    "weights_int4": lambda source, target: round_weights_to_4_bits(source, target, part=WeightsInt4()),
    "fp16": lambda source, target: halve(source, target, kind="fp16"),
    "bf16": lambda source, target: halve(source, target, kind="bf16"),
}
ON_THIS_CPU = [name for name in VARIANTS if name != "bf16"]


def answers(path: Path, images_NHWC: np.ndarray = DATA.images_NHWC[DATA.val]) -> np.ndarray:
    session = open_session(path, device="cpu", threads=1)
    return session.run(["probabilities"], {"images": images_NHWC})[0]


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def a_net_of_convolutions(path: Path, *, classes: int = 3, activation: str | None = "Softmax") -> Path:
    graph = Graph()
    body = graph.conv(graph.conv(graph.start, "stem", (3, 8)), "body", (8, classes))
    return graph.answering(graph.pooled(body), path, classes=classes, activation=activation)


def a_net_of_tokens(path: Path) -> Path:
    """A convolution, whose places are tokens that are normed, transposed and multiplied, as attention begins."""
    graph = Graph()
    patches = graph.conv(graph.start, "patches", (3, 8))
    tokens = graph.node("Reshape", [patches, graph.constant("shape", np.array([-1, 8, 64]))], "tokens")
    rows = graph.node("Transpose", [tokens], "rows", perm=[0, 2, 1])
    gains = graph.constant("classifier.norm.weight", np.ones(8, dtype=np.float32))
    normed = graph.node("LayerNormalization", [rows, gains], "normed")
    first = graph.node("Transpose", [normed], "first", perm=[1, 0, 2])
    product = graph.node("MatMul", [first, graph.weights("product", 8, 8, fan_in=8)], "product")
    back = graph.node("Transpose", [product], "back", perm=[1, 2, 0])
    features = graph.node("ReduceMean", [back, graph.constant("axis", np.array([2]))], "features", keepdims=0)
    return graph.answering(graph.linear(features, "head", (8, 3)), path)


@pytest.mark.parametrize("name", ON_THIS_CPU)
def test_the_variant_answers_as_its_parent_does(exported: Path, tmp_path: Path, name: str) -> None:
    VARIANTS[name](exported, tmp_path / "variant.onnx")

    near, exact = answers(tmp_path / "variant.onnx"), answers(exported)
    np.testing.assert_array_equal(near.argmax(axis=1), exact.argmax(axis=1))
    assert 0 < np.abs(near - exact).max() < 0.03


@pytest.mark.parametrize("name", list(VARIANTS))
def test_labels_card_and_types_stay_as_they_are(exported: Path, tmp_path: Path, name: str) -> None:
    VARIANTS[name](exported, tmp_path / "variant.onnx")

    model, parent = onnx.load(tmp_path / "variant.onnx"), onnx.load(exported)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties == {entry.key: entry.value for entry in parent.metadata_props}
    assert json.loads(properties["espalier.labels"]) == LABELS
    assert list(model.graph.input) == list(parent.graph.input)
    assert list(model.graph.output) == list(parent.graph.output)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("dynamic_linear", 0.33), ("dynamic_all", 0.26), ("weights_int8", 0.26), ("weights_int4", 0.24),
        ("fp16", 0.51), ("bf16", 0.51),
    ],
)  # fmt: skip
def test_the_file_is_as_much_smaller_as_its_weights(exported: Path, tmp_path: Path, name: str, share: float) -> None:
    VARIANTS[name](exported, tmp_path / "variant.onnx")

    assert (tmp_path / "variant.onnx").stat().st_size < share * exported.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["variant.onnx"]


@pytest.mark.parametrize("name", list(VARIANTS))
def test_weights_that_are_no_numbers_are_refused_and_the_source_stays(
    exported: Path, tmp_path: Path, name: str
) -> None:
    model = onnx.load(exported)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("classes.weight"))
    broken = numpy_helper.to_array(weights).copy()
    broken[0, 0] = np.nan
    weights.CopyFrom(numpy_helper.from_array(broken, weights.name))
    onnx.save_model(model, tmp_path / "fp32.onnx")
    before = (tmp_path / "fp32.onnx").read_bytes()

    with pytest.raises(QuantizationImpossible, match=r"classes\.weight.* not finite"):
        VARIANTS[name](tmp_path / "fp32.onnx", tmp_path / "variant.onnx")

    assert (tmp_path / "fp32.onnx").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["fp32.onnx"]


def test_dynamic_quantisation_of_all_layers_takes_convolutions_too(exported: Path, tmp_path: Path) -> None:
    linear = VARIANTS["dynamic_linear"](exported, tmp_path / "linear.onnx")
    everything = VARIANTS["dynamic_all"](exported, tmp_path / "all.onnx")

    assert (operators(tmp_path / "linear.onnx")["ConvInteger"], operators(tmp_path / "all.onnx")["ConvInteger"]) == (
        0,
        3,
    )
    assert operators(tmp_path / "linear.onnx")["MatMulInteger"] == 2
    assert linear.float_layers == ["backbone.stage1.0", "backbone.stage2.0", "backbone.stage3.0"]
    assert everything.float_layers == []


def test_dynamic_quantisation_of_linear_layers_needs_one(tmp_path: Path) -> None:
    source = a_net_of_convolutions(tmp_path / "fp32.onnx")

    with pytest.raises(QuantizationImpossible, match=r"no linear layer.*2 of its 2 layers.*`static_int8`"):
        VARIANTS["dynamic_linear"](source, tmp_path / "variant.onnx")


def test_a_layer_that_gives_numbers_is_not_quantised_dynamically(tmp_path: Path) -> None:
    graph = Graph()
    hidden = graph.linear(graph.pooled(graph.conv(graph.start, "stem", (3, 8))), "hidden", (8, 8))
    source = graph.answering(graph.linear(hidden, "head", (8, 1)), tmp_path / "fp32.onnx", classes=1, activation=None)

    facts = quantize_dynamic(source, tmp_path / "variant.onnx", part=DynamicInt8(), activation="identity")

    assert facts.float_layers == ["stem", "head"]


def test_each_output_has_a_scale_of_its_own_in_8_bit_weights(exported: Path, tmp_path: Path) -> None:
    facts = round_weights_to_8_bits(exported, tmp_path / "variant.onnx")

    exact = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(exported).graph.initializer}
    held = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "variant.onnx").graph.initializer
    }
    rounded = [name.removesuffix("_int8") for name in held if name.endswith("_int8")]
    assert len(rounded) == facts.layers == 5
    assert facts.size_only
    for name in rounded:
        whole, scale = held[f"{name}_int8"], held[f"{name}_scale"]
        assert (whole.dtype, scale.size) == (np.int8, len(exact[name]))
        near = whole * scale
        largest = np.abs(exact[name]).reshape(scale.size, -1).max(axis=1)
        assert (np.abs(near - exact[name]).reshape(scale.size, -1).max(axis=1) <= 0.5 * largest / 127 * 1.001).all()


def test_an_output_whose_weights_are_all_zero_stays_zero(tmp_path: Path) -> None:
    graph = Graph()
    weights = graph.constant("classifier.head.weight", np.zeros((3, 8), dtype=np.float32))
    features = graph.pooled(graph.conv(graph.start, "stem", (3, 8)))
    source = graph.answering(graph.node("Gemm", [features, weights], "logits", transB=1), tmp_path / "fp32.onnx")

    round_weights_to_8_bits(source, tmp_path / "int8.onnx")

    np.testing.assert_allclose(answers(tmp_path / "int8.onnx", IMAGES), 1 / 3, atol=1e-6)


@pytest.mark.parametrize("block_size", [16, 32, 64, 128])
def test_4_bit_weights_are_off_by_half_a_step_of_their_block(tmp_path: Path, block_size: int) -> None:
    graph = Graph()
    wide = graph.conv(graph.start, "stem", (3, 160))
    source = graph.answering(
        graph.linear(graph.pooled(wide), "head", (160, 3)), tmp_path / "fp32.onnx", activation=None
    )
    exact = next(
        numpy_helper.to_array(each) for each in onnx.load(source).graph.initializer if each.name.endswith("head.weight")
    )

    facts = round_weights_to_4_bits(
        source, tmp_path / "int4.onnx", part=WeightsInt4(block_size=block_size), activation="softmax"
    )

    assert facts.block_size == block_size
    near = _weights_by_asking(tmp_path / "int4.onnx", inputs=160)
    for start in range(0, 160, block_size):
        block, rounded = exact[:, start : start + block_size], near[:, start : start + block_size]
        step = np.abs(block).max(axis=1, keepdims=True) / 8
        # a step below the largest there is on one side only, so that the other side may lose a whole one
        assert (np.abs(block - rounded) <= 1.001 * step).all()
        assert np.median(np.abs(block - rounded) / step) <= 0.5


def test_4_bit_weights_need_linear_layers_that_matter(tmp_path: Path) -> None:
    graph = Graph()
    deep = graph.conv(graph.conv(graph.start, "stem", (3, 64)), "body", (64, 64))
    source = graph.answering(graph.linear(graph.pooled(deep), "head", (64, 3)), tmp_path / "fp32.onnx")

    with pytest.raises(
        QuantizationImpossible, match=r"hold 0\.5 % of this net's weights \(1 of 3 layers\).*weights_int8"
    ):
        round_weights_to_4_bits(source, tmp_path / "variant.onnx", part=WeightsInt4())


def test_a_linear_layer_of_fewer_inputs_than_a_block_stays_in_float(tmp_path: Path) -> None:
    graph = Graph()
    hidden = graph.linear(graph.pooled(graph.conv(graph.start, "stem", (3, 32))), "hidden", (32, 16))
    source = graph.answering(graph.linear(hidden, "head", (16, 3)), tmp_path / "fp32.onnx")

    facts = round_weights_to_4_bits(source, tmp_path / "variant.onnx", part=WeightsInt4(block_size=32))

    assert facts.float_layers == ["stem", "head"]


def test_half_floats_leave_preprocessing_and_softmax_in_float32(exported: Path, tmp_path: Path) -> None:
    halve(exported, tmp_path / "fp16.onnx", kind="fp16")

    graph = onnx.load(tmp_path / "fp16.onnx").graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert types["scale"] == types["shift"] == onnx.TensorProto.FLOAT
    layers = [node for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    assert {types[name] for node in layers for name in node.input[1:]} == {onnx.TensorProto.FLOAT16}
    casts = [node for node in graph.node if node.op_type == "Cast"]
    assert len(casts) == 3  # of the pixels, into the net, and out of it


def test_weights_beyond_a_half_float_are_refused(tmp_path: Path) -> None:
    graph = Graph()
    large = graph.constant("classifier.head.weight", np.full((3, 8), 7e4, dtype=np.float32))
    features = graph.pooled(graph.conv(graph.start, "stem", (3, 8)))
    source = graph.answering(graph.node("Gemm", [features, large], "logits", transB=1), tmp_path / "fp32.onnx")

    with pytest.raises(QuantizationImpossible, match=r"head\.weight.*65,504.*`bf16`"):
        halve(source, tmp_path / "fp16.onnx", kind="fp16")
    facts = halve(source, tmp_path / "bf16.onnx", kind="bf16")

    assert facts.float_operators == ["GlobalAveragePool"]


def test_bfloat16_is_used_where_there_are_kernels_for_it(exported: Path, tmp_path: Path) -> None:
    facts = halve(exported, tmp_path / "bf16.onnx", kind="bf16")

    model = onnx.load(tmp_path / "bf16.onnx")
    onnx.checker.check_model(model, full_check=True)
    types = Counter(tensor.data_type for tensor in model.graph.initializer)
    assert types[onnx.TensorProto.BFLOAT16] == 10
    assert facts.as_card() == {"float_operators": ["MaxPool"]}
    assert model.opset_import[0].version >= 22


def test_half_floats_of_a_transformer_crash_no_process(tmp_path: Path) -> None:
    source = a_net_of_tokens(tmp_path / "fp32.onnx")

    facts = halve(source, tmp_path / "fp16.onnx", kind="fp16")

    require_no_crash(tmp_path / "fp16.onnx")
    assert facts.float_operators == ["Transpose"]
    np.testing.assert_allclose(answers(tmp_path / "fp16.onnx", IMAGES), answers(source, IMAGES), atol=0.01)


def test_a_file_that_is_refused_without_a_crash_may_run_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "variant.onnx").write_bytes(b"no graph")

    require_no_crash(tmp_path / "variant.onnx")


def test_a_file_that_takes_its_process_down_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dying").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "dying").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "dying"))

    with pytest.raises(QuantizationImpossible, match=r"crashes when it loads the variant \(signal 11\)"):
        require_no_crash(tmp_path / "variant.onnx")


def test_activations_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    graph = Graph()
    huge = graph.constant("classifier.body.weight", np.full((8, 8, 1, 1), 3e38, dtype=np.float32))
    body = graph.node("Conv", [graph.conv(graph.start, "stem", (3, 8)), huge], "body")
    source = graph.answering(graph.linear(graph.pooled(body), "head", (8, 3)), tmp_path / "fp32.onnx")

    with pytest.raises(QuantizationImpossible, match="not finite on training examples"):
        quantize_static(
            source,
            tmp_path / "int8.onnx",
            part=StaticInt8(),
            examples=CalibrationExamples({"images": IMAGES}, np.arange(8)),
        )

    assert [path.name for path in tmp_path.iterdir()] == ["fp32.onnx"]


def test_a_library_that_fails_is_told_in_our_words(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "fp32.onnx").write_bytes(exported.read_bytes()[:-1000] + b"\xff" * 1000)

    with pytest.raises(QuantizationImpossible, match="could not read the file"):
        round_weights_to_8_bits(tmp_path / "fp32.onnx", tmp_path / "variant.onnx")


def _weights_by_asking(path: Path, *, inputs: int) -> np.ndarray:
    """Return the weights (outputs, inputs) that the file's 4-bit product works with, by running it on unit vectors."""
    graph = onnx.load(path).graph
    product = next(node for node in graph.node if node.op_type == "MatMulNBits")
    unit_NK = onnx.helper.make_tensor_value_info(product.input[0], onnx.TensorProto.FLOAT, ["N", inputs])
    given = onnx.helper.make_tensor_value_info(product.output[0], onnx.TensorProto.FLOAT, ["N", None])
    held = [tensor for tensor in graph.initializer if tensor.name in product.input]
    alone = onnx.helper.make_model(
        onnx.helper.make_graph([product], "alone", [unit_NK], [given], held),
        opset_imports=[onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    onnx.save_model(alone, path.with_name("alone.onnx"))
    session = open_session(path.with_name("alone.onnx"), device="cpu", threads=1)
    return session.run(None, {product.input[0]: np.eye(inputs, dtype=np.float32)})[0].T
