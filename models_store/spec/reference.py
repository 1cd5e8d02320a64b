"""References in a spec to models of the owner."""

from typing import Annotated

from pydantic import Field

from models_store.spec import patterns

ModelReference = Annotated[str, Field(pattern=patterns.REFERENCE, max_length=130)]
