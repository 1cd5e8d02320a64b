"""Learning from texts: what is learned, as one net of a front end, a backbone and a head."""

# B batch, L code points, K class

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from models_store.tasks.text.backbones.encoder import Encoder
from models_store.tasks.text.backbones.sequence import SequenceNetwork
from models_store.tasks.text.codec import CODE_POINTS, TOKENS
from models_store.tasks.text.spec import ResolvedTextSpec
from models_store.tasks.text.tokenizers import Ids, Tokens
from workers.tasks.text import backbones, front_ends, vectors
from workers.tasks.text.augmentations import Augmentation, Mixed
from workers.tasks.text.augmentations.sources import material_of
from workers.tasks.text.backbones import encoder
from workers.tasks.text.backbones.encoder import EncoderNet
from workers.tasks.text.backbones.ensemble import EnsembleNet
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.front_end import FrontEnd, FrontEnds
from workers.training import heads, regularizers, stored_weights
from workers.training.learner import Learner, Prepared, Raw, Stages

UNCHANGED = Augmentation()


class TextNet(Learner):
    """A learner of texts: takes code points or tokens int (B, L), 0 behind their end, and gives logits (B, K)."""

    def __init__(
        self, backbone: nn.Module, head: nn.Module, *, stages: Stages = (), augmentation: Augmentation = UNCHANGED
    ) -> None:
        super().__init__(backbone, head, stages=stages)
        self.augmentation = augmentation

    @property
    def embedding(self) -> nn.Embedding:
        """The vectors of the tokens."""
        found = self.get_submodule(f"{front_ends.BACKBONE}{front_ends.EMBEDDING}".removesuffix(".weight"))
        assert isinstance(found, nn.Embedding), "of every kind"
        return found

    @property
    def draws(self) -> bool:
        """Whether what the net is fed differs with a generator: by random changes, or by mixing."""
        return self.augmentation.draws

    def prepare(self, raw: Raw, generator: Generator | None) -> Tensor:
        """Return raw texts, changed if there is a generator; the front end numbers them in the net itself."""
        if generator is None or not self.draws:
            return front_ends.inputs_of(raw)
        if TOKENS in raw:
            return self.augmentation.tokens(raw[TOKENS], raw[CODE_POINTS], generator=generator)
        return self.augmentation.code_points(raw[CODE_POINTS], generator=generator)

    @property
    def mixes(self) -> bool:
        """Whether a part blends texts with each other."""
        return self.augmentation.mixes

    def mix(self, inputs: Prepared, targets_BK: Tensor, *, generator: Generator) -> tuple[Mixed, Tensor]:
        """Return prepared texts whose features will be blended, and soft targets."""
        return self.augmentation.mix(inputs, targets_BK, generator=generator)

    def apart(self, inputs: Prepared) -> list[Tensor]:
        """Return the logits of each member of an ensemble; blended features are those of all members."""
        if not isinstance(self.backbone, EnsembleNet) or isinstance(inputs, Mixed):
            return super().apart(inputs)
        return [self.head(scores_BK) for scores_BK in self.backbone.apart(inputs)]

    def features(self, inputs: Prepared) -> Tensor:
        """Return what the head sees, (B, F)."""
        if isinstance(inputs, Mixed):
            return inputs.blended(super().features(inputs.inputs))
        return super().features(inputs)

    def plain(self) -> "TextNet":
        """Return the same net, weights and all, without augmentation."""
        twin = copy.copy(self)
        twin.augmentation = UNCHANGED
        return twin


def build(
    spec: ResolvedTextSpec,
    *,
    class_count: int,
    examples: TextExamples,
    initial_weights: Path | None = None,
    last_layer: nn.Module | None = None,
) -> TextNet:
    """Return the net that a resolved spec describes; its random weights come from the spec's seed.

    `initial_weights` is the file of vectors, or of an encoder, that `backbone.weights` names.

    Raises:
        WeightsUnfit: if the file does not fit.
    """
    assert (spec.backbone.weights is None) == (initial_weights is None), "the supervisor hands over what the spec names"
    front = front_ends.of_examples(spec.backbone, examples, class_count=class_count)
    net = _built(spec, front, class_count=class_count, last_layer=last_layer)
    if initial_weights is not None:
        net.remarks = (_start(net, spec, initial_weights, tokenizer=examples.tokenizer),)
    net.augmentation = _augmentation(spec, net, examples)
    net.freeze(spec.freeze)
    return net


def restore(
    spec: ResolvedTextSpec,
    path: Path,
    *,
    class_count: int,
    examples: TextExamples | None = None,
    last_layer: nn.Module | None = None,
) -> TextNet:
    """Return the trained net of a spec, with the weights that `learner.save` wrote to `path`.

    It can be trained further on `examples`; None: it only answers.

    Raises:
        WeightsUnfit: if the file is not of such a net.
    """
    shown_name = f"{spec.name}'s weights"
    state = stored_weights.read(path, shown_name)
    front = front_ends.of_state(spec.backbone, state, class_count=class_count, shown_name=shown_name)
    net = _built(spec, front, class_count=class_count, last_layer=last_layer)
    stored_weights.fit(net, state, shown_name)
    if examples is not None:
        net.augmentation = _augmentation(spec, net, examples)
    return net


def _built(
    spec: ResolvedTextSpec, front: FrontEnd | FrontEnds, *, class_count: int, last_layer: nn.Module | None
) -> TextNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        backbone = backbones.build(spec.backbone, front_end=front, drop_path=regularizers.drop_path(spec.regularizers))
        if backbone.has_scores:
            head = heads.bias(class_count, last_layer=last_layer)
        else:
            head = heads.build(
                spec.head,
                backbone.feature_count,
                output_count=class_count,
                noise=regularizers.noise(spec.regularizers),
                last_layer=last_layer,
            )
    return TextNet(backbone.net, head, stages=backbone.stages)


def _start(net: TextNet, spec: ResolvedTextSpec, path: Path, *, tokenizer: Tokens) -> str:
    """Fill what the file knows of the net; return in a sentence what that is."""
    part, shown_name = spec.backbone, f"backbone.weights {spec.backbone.weights}"
    if not isinstance(part, Encoder):
        return vectors.start(net.embedding, tokenizer, path, shown_name=shown_name)
    assert isinstance(net.backbone, EncoderNet), "built of that part"
    return encoder.start(net.backbone, part, stored_weights.read(path, shown_name), shown_name=shown_name)


def _augmentation(spec: ResolvedTextSpec, net: TextNet, examples: TextExamples) -> Augmentation:
    """Return the spec's augmentation; vectors that the net starts from stand in for synonyms."""
    material = material_of(spec.augmentation, examples)
    if isinstance(spec.backbone, SequenceNetwork) and spec.backbone.weights is not None:
        material = replace(material, neighbours=vectors.neighbours(net.embedding, examples.tokenizer))
    most = spec.input.max_tokens if examples.texts is None else examples.texts.shape[1]
    return Augmentation(spec.augmentation, material, most=most, numbered=_numbering(spec, examples.tokenizer))


def _numbering(spec: ResolvedTextSpec, tokenizer: Tokens) -> Callable[[str], Ids]:
    """Return the function from a text to the tokens that the net would be given of it."""
    most, truncate = spec.input.max_tokens, spec.input.truncate
    assert most is not None, "the spec is resolved"
    return lambda text: tokenizer.cut(tokenizer.ids(text), most, truncate=truncate)
