"""Answers about files in memory: where a variant runs, and what it takes."""

from pydantic import Field

from models_store.models.served import Served
from service.answers.answer import Answer
from service.inference.forwarded import InMemory


class VariantMemory(Answer):
    """A variant's file in the memory of this host. The fields behind `loaded` are null while it is not there."""

    model: str
    version: int
    variant: str
    loaded: bool
    provider: str | None = Field(description="execution provider that runs it, of the session itself")
    tuning: str | None = Field(
        description="options of the provider that were measured to be the fastest for this file here; `plain`: the "
        "usual ones"
    )
    memory_bytes: int | None = Field(description="what it takes, as measured when it was loaded")
    pinned: bool | None = Field(description="whether an alias keeps it in memory")

    @classmethod
    def of(cls, served: Served, found: InMemory | None) -> "VariantMemory":
        """Return the answer for a file; `found` is None if it is not loaded."""
        return cls(
            model=served.model,
            version=served.version,
            variant=served.variant,
            loaded=found is not None,
            provider=found.provider if found else None,
            tuning=found.tuning if found else None,
            memory_bytes=found.size_bytes if found else None,
            pinned=found.is_pinned if found else None,
        )
