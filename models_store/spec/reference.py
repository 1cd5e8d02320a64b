"""References in a spec to models of the owner."""

from typing import Annotated

from pydantic import Field

from models_store.spec import wordings

ModelReference = Annotated[str, Field(pattern=wordings.REFERENCE, max_length=130)]
