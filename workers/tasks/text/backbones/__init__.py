"""Backbones of texts: importing the package registers every kind."""

from workers.tasks.text.backbones import encoder as encoder
from workers.tasks.text.backbones import ensemble as ensemble
from workers.tasks.text.backbones import ngrams as ngrams
from workers.tasks.text.backbones import recurrent as recurrent
from workers.tasks.text.backbones import sequence as sequence
from workers.tasks.text.backbones import transformer as transformer
from workers.tasks.text.backbones.backbone import Backbone, build

__all__ = ["Backbone", "build"]
