"""Texts that say nothing, to measure a net with before there is any data."""

# N rows, L code points

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models_store.tasks.rooms import target_of
from models_store.tasks.text.codec import LENGTHS, EncodedText, TextCodec
from models_store.tasks.text.spec import ResolvedTextSpec
from models_store.tasks.text.tokenizers.fitting import fit
from models_store.tasks.text.tokenizers.parts import PretrainedTokenizer
from workers.tasks.text.examples import TextExamples, pretrained_of, string_of

FIRST, LETTERS = 0x4E00, 2048
"""Chinese characters that noise is made of"""


def noise(spec: ResolvedTextSpec, *, classes: Sequence[str], count: int, start: Path | None = None) -> TextExamples:
    """Return training rows as the spec sees them: one text of noise as long as any may be, as often as wanted.

    `start` is the file of weights that an encoder's tokenizer is in.
    """
    assert spec.input.max_tokens is not None, "the spec is resolved"
    assert spec.input.tokenizer is not None, "as above"
    text_L = np.random.default_rng(0).integers(FIRST, FIRST + LETTERS, spec.input.max_tokens, dtype=np.int32)
    if isinstance(spec.input.tokenizer, PretrainedTokenizer):
        tokenizer = pretrained_of(start)
        ids_L = np.random.default_rng(0).integers(1, tokenizer.size, spec.input.max_tokens, dtype=np.int32)
        example = EncodedText(ids_L, truncated=False, empty=False)
        inputs = TextCodec.of(spec.input.model_dump(), tokenizer).collate([example])
    else:
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
