"""Network below the head: its stages, the weights that it starts from, and what of it stays as it is.

A task that offers a choice of networks has them under `backbone` in its spec.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from models_store.spec import patterns
from models_store.spec.part import Part

if TYPE_CHECKING:
    from models_store.spec.recipe import Misfit

OwnWeights = Annotated[str, Field(pattern=patterns.OWN_WEIGHTS, max_length=130)] | None
Freeze = Annotated[str, Field(pattern=patterns.FREEZE, max_length=60)] | None

OWN_WEIGHTS = (
    "`name@alias` or `name:version`: start from a model of yours with this backbone, whatever its head; `wt_…`: from a "
    "safetensors file of yours (POST /weights); null: start from scratch"
)
FREEZE = (
    "backbone: all its weights are frozen, and the head trains on features that are computed once; "
    "norms: the weights and statistics of the norms are frozen; until:<stage>: this stage and those "
    "before it are frozen; none: everything trains; null: chosen by the recipe"
)


class Network(Part):
    """The base of every network."""

    kind: str
    weights: OwnWeights = Field(None, description=OWN_WEIGHTS)
    freeze: Freeze = Field(None, description=FREEZE)

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output, as `freeze: until:<stage>` and `transfer` name them."""
        return ()

    @property
    def has_drop_path(self) -> bool:
        """Return whether it has residual branches that can be dropped at random."""
        return False

    @property
    def has_channels(self) -> bool:
        """Return whether whole channels can be removed from it."""
        return True

    @property
    def has_static_layers(self) -> bool:
        """Return whether it has convolutions or linear layers, whose activations fit ranges that are read beforehand."""
        return True

    @property
    def takes_floats(self) -> bool:
        """Return whether its input is floats: training can only simulate the rounding of a net that begins with them."""
        return True

    @property
    def has_dynamic_layers(self) -> bool:
        """Return whether it has linear layers or LSTMs, whose activations can be rounded by ranges found at each call."""
        return True

    @property
    def has_linear_layers(self) -> bool:
        """Return whether linear layers may hold a good part of its weights, so that 4 bits of them save size."""
        return True

    @property
    def has_single_weights(self) -> bool:
        """Return whether it has convolutions or linear layers, of which single weights can be set to zero."""
        return self.has_static_layers

    @property
    def has_vocabulary(self) -> bool:
        """Return whether it has a row of weights for each entry of a vocabulary, and can do without some of them."""
        return False

    @property
    def has_batch_norm(self) -> bool:
        """Return whether the scales of a batch norm may rank its channels."""
        return True

    def described_by(self, card: Mapping[str, Any]) -> "Network | Misfit":  # noqa: ARG002  see subclasses
        """Return the network with what the card of its file of weights shows of it; or what does not fit.

        `card` has the file's `name` and `sha256` besides.
        """
        return self


def weights_of(spec: Mapping[str, Any]) -> str | None:
    """Return what the network of a resolved spec (a document) starts from; None: random weights."""
    weights: str | None = (spec.get("backbone") or {}).get("weights")
    return weights


def is_of_ours(weights: str) -> bool:
    """Tell whether weights name a model of ours, by version or alias; else they are published, or a user's file."""
    return "@" in weights or ":" in weights
