"""Front end of each backbone: made from training texts, or from the state of a trained net."""

# B batch, K class or label

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models_store.spec.network import Network
from models_store.tasks.text.backbones.ngrams import NgramNetwork
from models_store.tasks.text.codec import CODE_POINTS, TOKENS
from workers.tasks.text import front_end, known_ngrams
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.front_end import FrontEnd
from workers.tasks.text.known_ngrams import Batch
from workers.tasks.text.ngrams import PRIME
from workers.training.feeds import batches
from workers.training.learner import Raw
from workers.training.stored_weights import WeightsUnfit

COUNTED_AT_ONCE = 256
OF_NGRAMS = "backbone.known."
OF_TOKENS = "backbone.embedded.front_end."
EMBEDDING = "backbone.embedded.embedding.weight"


def inputs_of(raw: Raw) -> Tensor:
    """Return what a front end takes of raw texts."""
    return raw[TOKENS] if TOKENS in raw else raw[CODE_POINTS]


def of_examples(part: Network, examples: TextExamples, *, class_count: int) -> FrontEnd:
    """Return the front end of a backbone that will learn from these texts."""
    front = front_end.of(examples.tokenizer)
    if not isinstance(part, NgramNetwork):
        return front
    texts = _TrainingTexts(examples, class_count)
    return known_ngrams.fit(part, front, texts, class_count=class_count)


def of_state(part: Network, state: Mapping[str, Tensor], *, class_count: int, shown_name: str) -> FrontEnd:
    """Return the front end of a backbone whose net has this state.

    Raises:
        WeightsUnfit: if the state, which `shown_name` names, is not of such a net.
    """
    needed = f"{OF_NGRAMS}dictionary.keys" if isinstance(part, NgramNetwork) else EMBEDDING
    if needed not in state:
        raise WeightsUnfit(f"{shown_name} lacks {needed!r}; what is needed are weights of this very net")
    if not isinstance(part, NgramNetwork):
        return front_end.of_state(state, OF_TOKENS, size=len(state[EMBEDDING]))
    known = {name.removeprefix(OF_NGRAMS): tensor for name, tensor in state.items() if name.startswith(OF_NGRAMS)}
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
