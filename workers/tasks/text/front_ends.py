"""Front end of each backbone: made from training texts, or from the state of a trained net."""

# B batch, K class or label

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models_store.spec.network import Network
from models_store.tasks.text.backbones.ensemble import Ensemble
from models_store.tasks.text.backbones.ngrams import NgramNetwork
from models_store.tasks.text.codec import CODE_POINTS, TOKENS
from workers.tasks.text import front_end, known_ngrams
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.front_end import FrontEnd, FrontEnds
from workers.tasks.text.known_ngrams import Batch
from workers.tasks.text.ngrams import PRIME
from workers.training.feeds import batches
from workers.training.learner import Raw
from workers.training.stored_weights import WeightsUnfit

COUNTED_AT_ONCE = 256
BACKBONE = "backbone."
OF_NGRAMS = "known."
OF_TOKENS = "embedded.front_end."
EMBEDDING = "embedded.embedding.weight"


def inputs_of(raw: Raw) -> Tensor:
    """Return what a front end takes of raw texts."""
    return raw[TOKENS] if TOKENS in raw else raw[CODE_POINTS]


def of_examples(part: Network, examples: TextExamples, *, class_count: int) -> FrontEnd | FrontEnds:
    """Return the front end of a backbone that will learn from these texts; of an ensemble, those of its members."""
    if isinstance(part, Ensemble):
        return FrontEnds([_of_examples(each, examples, class_count=class_count) for each in part.members], class_count)
    return _of_examples(part, examples, class_count=class_count)


def _of_examples(part: Network, examples: TextExamples, *, class_count: int) -> FrontEnd:
    front = front_end.of(examples.tokenizer)
    if not isinstance(part, NgramNetwork):
        return front
    texts = _TrainingTexts(examples, class_count)
    return known_ngrams.fit(part, front, texts, class_count=class_count)


def of_state(part: Network, state: Mapping[str, Tensor], *, class_count: int, shown_name: str) -> FrontEnd | FrontEnds:
    """Return the front end of a backbone whose net has this state.

    Raises:
        WeightsUnfit: if the state, which `shown_name` names, is not of such a net.
    """

    def found(each: Network, prefix: str) -> FrontEnd:
        return _of_state(each, state, prefix, class_count=class_count, shown_name=shown_name)

    if not isinstance(part, Ensemble):
        return found(part, BACKBONE)
    prefixes = (f"{BACKBONE}members.{number}.net." for number in range(len(part.members)))
    return FrontEnds([found(each, prefix) for each, prefix in zip(part.members, prefixes, strict=True)], class_count)


def _of_state(
    part: Network, state: Mapping[str, Tensor], prefix: str, *, class_count: int, shown_name: str
) -> FrontEnd:
    needed = prefix + (f"{OF_NGRAMS}dictionary.keys" if isinstance(part, NgramNetwork) else EMBEDDING)
    if needed not in state:
        raise WeightsUnfit(f"{shown_name} lacks {needed!r}; what is needed are weights of this very net")
    if not isinstance(part, NgramNetwork):
        return front_end.of_state(state, prefix + OF_TOKENS, size=len(state[needed]))
    under = prefix + OF_NGRAMS
    known = {name.removeprefix(under): tensor for name, tensor in state.items() if name.startswith(under)}
    front = front_end.of_state(known, "front_end.", size=PRIME)
    return known_ngrams.of_state(part, front, known, class_count=class_count)


@dataclass(frozen=True, eq=False)
class _TrainingTexts:
    """The training texts with their targets, as often as they are gone through."""

    examples: TextExamples
    class_count: int

    def __iter__(self) -> Iterator[Batch]:
        rows = self.examples.split("train")
        for start, end in batches(len(rows), COUNTED_AT_ONCE):
            chosen = rows[start:end]
            raw = {name: torch.from_numpy(array) for name, array in self.examples.batch(chosen).items()}
            targets = torch.from_numpy(self.examples.targets[chosen])
            is_class = not targets.is_floating_point()
            yield inputs_of(raw), functional.one_hot(targets, self.class_count).float() if is_class else targets
