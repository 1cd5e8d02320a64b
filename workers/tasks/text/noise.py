"""Texts that say nothing, to measure a net with before there is any data."""

# N rows, L code points

from collections.abc import Sequence

import numpy as np

from models_store.tasks.rooms import target_of
from models_store.tasks.text.codec import LENGTHS, TextCodec
from models_store.tasks.text.spec import ResolvedTextSpec
from models_store.tasks.text.tokenizers.fitting import fit
from workers.tasks.text.examples import TextExamples, string_of

FIRST, LETTERS = 0x4E00, 2048
"""Chinese characters that noise is made of"""


def noise(spec: ResolvedTextSpec, *, classes: Sequence[str], count: int) -> TextExamples:
    """Return training rows as the spec sees them: one text of noise as long as any may be, as often as wanted."""
    assert spec.input.max_tokens is not None, "the spec is resolved"
    assert spec.input.tokenizer is not None, "as above"
    text_L = np.random.default_rng(0).integers(FIRST, FIRST + LETTERS, spec.input.max_tokens, dtype=np.int32)
    tokenizer = fit(spec.input.tokenizer, [string_of(text_L)])
    codec = TextCodec.of(spec.input.model_dump(), tokenizer)
    inputs = codec.collate([codec.decode(string_of(text_L))])
    return TextExamples(
        inputs={name: np.broadcast_to(array, (count, *array.shape[1:])) for name, array in inputs.items()},
        padded=[name for name in inputs if name != LENGTHS],
        targets=target_of(spec.task).placeholders(count, names=len(classes)),
        splits_N=np.full(count, "train"),
        classes=list(classes),
        tokenizer=tokenizer,
        texts=None if tokenizer.in_graph else np.broadcast_to(text_L, (count, len(text_L))),
    )
