"""Backbones of texts: the network below the head."""

from typing import Annotated

from pydantic import Field

from models_store.tasks.text.backbones.encoder import Encoder
from models_store.tasks.text.backbones.ensemble import Ensemble
from models_store.tasks.text.backbones.ngrams import NbLinear, NgramBag, TfidfLinear
from models_store.tasks.text.backbones.recurrent import Gru, Lstm, Rnn
from models_store.tasks.text.backbones.sequence import TextCnn
from models_store.tasks.text.backbones.transformer import Transformer

Backbone = Annotated[
    TfidfLinear | NbLinear | NgramBag | Ensemble | TextCnn | Rnn | Lstm | Gru | Transformer | Encoder,
    Field(discriminator="kind"),
]
