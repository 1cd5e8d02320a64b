"""Backbones of texts: the network below the head."""

from typing import Annotated

from pydantic import Field

from models_store.tasks.text.backbones.sequence import TextCnn

Backbone = Annotated[TextCnn, Field(discriminator="kind")]
