"""The base of every object in a spec: strict about keys, and frozen."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """One object of a spec. Unknown keys are refused; `explain` names the nearest valid one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
