"""Words that other libraries use for what a spec asks of texts."""

from models_store.spec.synonyms import GENERAL
from models_store.spec.vocabulary import Words, spread

WORDS = GENERAL | Words(
    fields=spread(
        {
            "input.max_tokens": "maxlength maxlen maxseqlength maxsequencelength sequencelength seqlen maxseqlen "
            "maxwords padsize blocksize",
            "input.truncate": "truncation truncationside truncating",
            "input.tokenizer": "tokeniser segmenter cut analyzer",
            "backbone": "model architecture arch network net encoder basemodel modeltype",
            "embedding": "embeddingdim embeddingsize embeddim embedsize vectorsize hiddensize",
            "kernels": "kernelsizes filtersizes windows kernelsize",
            "filters": "numfilters nfilters outchannels channels",
        }
    ),
    also={},
    notes={},
    kind_notes={},
    kinds={
        word: (kind,)
        for word, kind in spread(
            {"text_cnn": "textcnn cnn parallelcnn kimcnn", "characters": "char chars character"}
        ).items()
    },
    values={
        "right": ("end",),
        "left": ("start",),
        "post": ("end",),
        "pre": ("start",),
        "classification": ("text_classification",),
        "multilabel": ("text_multilabel",),
        "regression": ("text_regression",),
        "sentimentanalysis": ("text_classification",),
    },
)
