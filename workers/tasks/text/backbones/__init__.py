"""Backbones of texts: importing the package registers every kind."""

from workers.tasks.text.backbones import sequence as sequence
from workers.tasks.text.backbones.backbone import Backbone, build

__all__ = ["Backbone", "build"]
