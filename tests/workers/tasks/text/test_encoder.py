"""Pretrained encoders against a forward pass in numpy by the public names, and their files."""

from dataclasses import replace
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from models_store.models.weights_forms import as_safetensors
from models_store.tasks.text import encoders
from models_store.tasks.text.backbones.encoder import Encoder
from models_store.tasks.text.spec import ResolvedTextSpec
from tests.tasks.text.encoder_archives import CONFIG, DISTILBERT, files_of, tensors_of, zipped
from tests.workers.tasks.text.text_nets import a_text_spec, exported
from workers.export.sessions import answer, open_session
from workers.tasks.text import noise
from workers.tasks.text.backbones.encoder import EncoderNet
from workers.tasks.text.net import TextNet
from workers.tasks.text.task import TEXT
from workers.training.feeds import RawFeed, compute_features
from workers.training.learner import save
from workers.training.precision import Precision
from workers.training.stored_weights import WeightsUnfit
from workers.training.transfer import scale_of

CONFIGS = {
    "bert": CONFIG,
    "xlm-roberta": CONFIG | {"model_type": "xlm-roberta", "pad_token_id": 1, "layer_norm_eps": 1e-5},
    "distilbert": DISTILBERT,
}
LENGTHS = [1, 7, 0, 33, 2, 12]


def archive(folder: Path, config: dict[str, Any] = CONFIG, **given: Any) -> Path:
    path = folder / "encoder"
    path.write_bytes(zipped(files_of(config, **given)))
    as_safetensors(path, most_bytes=1 << 24)
    return path


def a_spec(config: dict[str, Any] = CONFIG, **given: Any) -> ResolvedTextSpec:
    card = {"encoder": {"architecture": encoders.architecture_of(config).model_dump(), "pooling": None}}
    part = Encoder(weights="wt_00000000").described_by(card | {"name": "tiny", "sha256": "0"})
    assert isinstance(part, Encoder)
    return a_text_spec(backbone=part.model_dump() | given, input={})


def a_net(spec: ResolvedTextSpec, path: Path) -> TextNet:
    examples = noise.noise(spec, classes=["good", "bad"], count=4, start=path)
    net = TEXT.build(spec, class_count=2, weights_dir=path.parent, examples=examples, initial_weights=path)
    with torch.no_grad():  # so that answers differ
        net.get_parameter("head.classes.weight").copy_(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))
    return net.eval()


def some_tokens(lengths: list[int] = LENGTHS) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(0)
    padded_NL = np.zeros((len(lengths), max(lengths)), np.int32)
    for row, length in enumerate(lengths):
        padded_NL[row, :length] = random.integers(1, 19, length)
    return padded_NL


def hidden_states(config: dict[str, Any], ids_L: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what the last layer of an encoder makes of one text, by the paper and the public names alone."""
    state, net = tensors_of(config), encoders.architecture_of(config)
    names = encoders.layer_names(net.model_type)
    gelu = np.vectorize(lambda x: x * (1 + erf(x / 2**0.5)) / 2)

    def linear(x: Any, name: str) -> Any:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: Any, name: str) -> Any:
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + net.norm_epsilon)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    first = encoders.first_position(config)
    x = state[encoders.WORDS][ids_L] + state[encoders.POSITIONS][first : first + len(ids_L)]
    if encoders.TYPES in state:
        x = x + state[encoders.TYPES][0]
    x = norm(x, encoders.EMBEDDING_NORM)
    for number in range(net.layers):
        name = {part: each.format(number) for part, each in names.items()}
        q, k, v = (
            linear(x, name[part]).reshape(len(x), net.heads, -1).swapaxes(0, 1) for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / (net.width / net.heads) ** 0.5)
        seen = ((scores / scores.sum(-1, keepdims=True)) @ v).swapaxes(0, 1).reshape(x.shape)
        x = norm(x + linear(seen, name["out"]), name["attention_norm"])
        x = norm(x + linear(gelu(linear(x, name["hidden"])), name["hidden_out"]), name["hidden_norm"])
    return x


@pytest.mark.parametrize("name", CONFIGS)
def test_hidden_states_are_those_of_the_public_net(name: str, tmp_path: Path) -> None:
    spec = a_spec(CONFIGS[name])
    net = a_net(spec, archive(tmp_path, CONFIGS[name])).backbone
    assert isinstance(net, EncoderNet)
    tokens_NL = some_tokens()

    with torch.no_grad():
        features_NLE = net.tokens(torch.from_numpy(tokens_NL))[0].numpy()

    for row, length in enumerate(LENGTHS):
        if length:
            wanted_LE = hidden_states(CONFIGS[name], tokens_NL[row, :length] - 1)
            assert np.abs(features_NLE[row, :length] - wanted_LE).max() < 1e-5


@pytest.mark.parametrize("pooling", ["mean", "first", "max"])
def test_padding_and_neighbours_change_no_answer_of_net_or_file(pooling: str, tmp_path: Path) -> None:
    spec = a_spec(pooling=pooling)
    net = a_net(spec, archive(tmp_path))
    together_NL = some_tokens()
    lengths_N = np.array(LENGTHS, np.int32)

    path = exported(net, spec, tmp_path / "net.onnx")
    session = open_session(path, device="cpu", threads=1)

    with torch.no_grad():
        trained_NK = net(torch.from_numpy(together_NL)).softmax(dim=1).numpy()
    served_NK = answer(session, {"tokens": together_NL, "lengths": lengths_N})
    wider_NK = answer(session, {"tokens": np.pad(together_NL, ((0, 0), (0, 5))), "lengths": lengths_N})
    alone_NK = np.concatenate(
        [
            answer(session, {"tokens": together_NL[row, None, : max(1, length)], "lengths": lengths_N[row : row + 1]})
            for row, length in enumerate(LENGTHS)
        ]
    )
    assert not [each.name for each in onnx.load(path).graph.initializer if "definition" in each.name]
    assert np.ptp(served_NK[:, 0]) > 0.01, "answers that are all alike prove nothing"
    for other_NK in (trained_NK, wider_NK, alone_NK):
        assert np.abs(served_NK - other_NK).max() < 1e-5


def test_a_trained_net_comes_back_from_its_weights_with_its_tokenizer(tmp_path: Path) -> None:
    spec = a_spec()
    net = a_net(spec, archive(tmp_path))
    path = save(net, tmp_path / "weights.safetensors")

    restored = TEXT.restore(spec, path, class_count=2).eval()

    tokens_NL = torch.from_numpy(some_tokens())
    assert torch.equal(restored(tokens_NL), net(tokens_NL))
    of_archive, of_net = (
        noise.noise(spec, classes=["a", "b"], count=1, start=each).tokenizer for each in (tmp_path / "encoder", path)
    )
    assert of_net.as_document() == of_archive.as_document()


def test_a_frozen_encoder_is_never_in_training_mode_and_a_free_one_learns_everywhere(tmp_path: Path) -> None:
    path = archive(tmp_path)

    frozen, free = (a_net(a_spec(freeze=freeze), path).train() for freeze in ("backbone", "none"))

    assert frozen.frozen
    assert not any(module.training for module in frozen.backbone.modules())
    free(torch.from_numpy(some_tokens())).square().sum().backward()
    unused = [name for name, weight in free.named_parameters() if weight.grad is None or not weight.grad.abs().any()]
    assert unused == []


def test_features_of_a_frozen_one_are_computed_once_for_each_row_whatever_its_length(tmp_path: Path) -> None:
    spec = a_spec(freeze="backbone")
    net = a_net(spec, archive(tmp_path))
    tokens_NL = some_tokens([3, 40, 1, 17] * 20)
    examples = replace(
        noise.noise(spec, classes=["good", "bad"], count=len(tokens_NL), start=tmp_path / "encoder"),
        inputs={"tokens": tokens_NL, "lengths": (tokens_NL > 0).sum(axis=1).astype(np.int32)},
    )
    rows, device = np.arange(1, len(tokens_NL)), torch.device("cpu")

    feed = compute_features(
        RawFeed(net, examples, device=device),
        rows,
        batch_size=32,
        precision=Precision("fp32", device),
        each=lambda _: None,
    )

    with torch.no_grad():
        wanted_NF = net.features(torch.from_numpy(tokens_NL[[2, 5, 60]]))
    assert (feed.batch(np.array([2, 5, 60]), None) - wanted_NF).abs().max() < 1e-5


def test_lower_layers_learn_more_slowly_and_stages_freeze(tmp_path: Path) -> None:
    spec = a_spec(freeze="until:layer1")
    net = a_net(spec, archive(tmp_path))

    scale = scale_of(spec.transfer, net)

    assert spec.optimizer.lr == 5e-5
    assert scale("backbone.embedded.positions") == pytest.approx(0.81)
    assert scale("backbone.layers.0.hidden.0.weight") == pytest.approx(0.9)
    assert scale("backbone.layers.1.hidden.0.weight") == 1.0
    assert scale("head.classes.weight") == 10.0
    trained = {
        name.split(".")[2] for name, weight in net.named_parameters() if weight.requires_grad and "layers" in name
    }
    assert trained == {"1"}


def test_the_log_says_what_of_an_archive_is_of_no_use(tmp_path: Path) -> None:
    path = archive(tmp_path, prefix="bert.", more={"bert.pooler.dense.bias": np.zeros(16, np.float32)})

    (said,) = a_net(a_spec(), path).remarks

    assert said.endswith("(bert); of no use here: bert.pooler.dense.bias")


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    broken = {"embeddings.LayerNorm.bias": np.full(16, np.nan, np.float32)}

    with pytest.raises(WeightsUnfit, match=r"has values in 'embedded\.norm\.bias' that are no numbers"):
        a_net(a_spec(), archive(tmp_path, more=broken))


def test_what_a_card_says_of_an_encoder() -> None:
    found = TEXT.described(a_spec())["encoder"]

    assert found["weights"] == "wt_00000000"
    assert found["origin"] == {"name": "tiny", "sha256": "0"}
    assert found["pooling"] == "mean"
