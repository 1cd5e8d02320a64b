"""Pretrained encoder of a user's: its net and its tokenizer are those of an uploaded archive."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from models_store.spec.network import Network
from models_store.spec.part import Part
from models_store.spec.recipe import Misfit
from models_store.tasks.text.backbones.sequence import WeightsId

MOST_LAYERS = 48
Pooling = Annotated[
    Literal["mean", "first", "max"] | None,
    Field(
        description="how the features of the tokens become those of the text: their mean, those of the first token (BERT's [CLS]), or the largest of each (max); null: what the archive's `1_Pooling/config.json` says, else mean"
    ),
]


class Architecture(Part):
    """The net that a `config.json` describes."""

    model_type: Literal["bert", "roberta", "xlm-roberta", "distilbert"] = Field(
        "bert", description="`model_type` of its config.json, which says what its tensors are called"
    )
    vocabulary: int = Field(30_522, ge=8, le=1_000_000, description="tokens that have an embedding")
    positions: int = Field(512, ge=8, le=8192, description="largest number of tokens that it sees of a text")
    width: int = Field(384, ge=8, le=2048, description="features of a token")
    layers: int = Field(6, ge=1, le=MOST_LAYERS, description="layers above the embedding")
    heads: int = Field(12, ge=1, le=64, description="parts into which `width` is divided, each compared by itself")
    ffn: int = Field(1536, ge=8, le=16_384, description="width of the hidden layer after each comparison")
    activation: Literal["gelu", "gelu_tanh", "relu"] = Field("gelu", description="function in the hidden layer")
    norm_epsilon: float = Field(1e-12, gt=0, le=0.1, description="added to the variance by its norms")


class Origin(Part):
    """The uploaded file that an encoder is from; a version's card shows it when the file is long gone."""

    name: str = Field("", max_length=255, description="name of the file of weights")
    sha256: str = Field("", max_length=64, description="digest of the file of weights")


class Encoder(Network):
    """Pretrained Transformer encoder with its own tokenizer (BERT: Devlin et al. 2019, arXiv:1810.04805; MiniLM, RoBERTa, XLM-RoBERTa, DistilBERT): POST /weights takes a zip of its config.json, model.safetensors and tokenizer.json. Frozen, the head learns from features that are computed once; else the whole net trains on."""

    kind: Literal["encoder"] = "encoder"
    weights: WeightsId = Field(None, description="`wt_…`: the archive of the encoder (POST /weights); it is needed")
    pooling: Pooling = None
    dropout: float = Field(
        0.1, ge=0, lt=1, description="dropout of the embedding, of the comparisons, and at the end of each branch"
    )
    architecture: Architecture | None = Field(
        None, description="null: that of the archive; a resolved spec shows it, and it can't be another one"
    )
    origin: Origin | None = Field(None, description="null: filled in with the name and the digest of the archive")

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output; of an unknown architecture, all that there can be."""
        layers = MOST_LAYERS if self.architecture is None else self.architecture.layers
        return ("embedding", *(f"layer{number}" for number in range(1, layers + 1)))

    @property
    def has_channels(self) -> bool:
        """Return False: its width is that of every layer, and its heads are not cut."""
        return False

    @property
    def takes_floats(self) -> bool:
        """Return False: it takes the numbers of tokens."""
        return False

    @property
    def has_batch_norm(self) -> bool:
        """Return False: it has layer norms."""
        return False

    def described_by(self, card: Mapping[str, Any]) -> "Encoder | Misfit":
        """Return the encoder with the architecture, pooling and origin that the card of its file of weights shows."""
        if "encoder" not in card:
            return Misfit(
                "/backbone/weights",
                "the file is no pretrained encoder; upload a zip of its config.json, model.safetensors and "
                "tokenizer.json (POST /weights)",
            )
        architecture = Architecture.model_validate(card["encoder"]["architecture"])
        if self.architecture not in {None, architecture}:
            return Misfit(
                "/backbone/architecture",
                f"the file has another net ({architecture.layers} layers of {architecture.width}, "
                f"{architecture.vocabulary:,} tokens); leave `architecture` out",
                [None],
            )
        return self.model_copy(
            update={
                "architecture": architecture,
                "pooling": self.pooling or card["encoder"]["pooling"] or "mean",
                "origin": Origin(name=card["name"], sha256=card["sha256"]),
            }
        )
