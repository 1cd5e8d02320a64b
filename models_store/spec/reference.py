"""How a spec names a model of ours."""

from typing import Annotated

from pydantic import Field

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"

ModelReference = Annotated[
    str, Field(pattern=rf"^{NAME}(@[A-Za-z0-9][A-Za-z0-9._-]{{0,59}}|:[0-9]{{1,9}})?$", max_length=130)
]
