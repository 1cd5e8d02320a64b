"""Requests and answers about aliases: targets by weight, a shadow and what was counted of it, and what was checked."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from models_store.models import alias_rows
from service.answers.answer import Answer
from service.inference.golden import Checked

MOST_TARGETS = 8
MS = 1000.0


class WeightedTarget(BaseModel):
    """One of several targets of an alias."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=999_999_999, description="number of the version")
    variant: str | None = Field(
        None, min_length=1, max_length=60, description="name of one of its variants; null: the version's default"
    )
    weight: float = Field(
        gt=0, le=1_000_000, allow_inf_nan=False, description="how often it answers, among the weights of all targets"
    )


class ShadowTarget(BaseModel):
    """A second version or variant that is asked the same; nobody gets its answers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=999_999_999, description="number of the version")
    variant: str | None = Field(
        None, min_length=1, max_length=60, description="name of one of its variants; null: the version's default"
    )
    share: float = Field(gt=0, le=1, description="share of the requests that it is asked")


class AliasTarget(BaseModel):
    """Target of an alias: `version`, or several `targets` by weight; with or without a shadow."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": {"version": 3}})

    version: int | None = Field(
        None, ge=1, le=999_999_999, description="number of the version; null: `targets` names several"
    )
    variant: str | None = Field(
        None, min_length=1, max_length=60, description="name of one of its variants; null: the version's default"
    )
    targets: list[WeightedTarget] | None = Field(
        None,
        min_length=1,
        max_length=MOST_TARGETS,
        description="versions or variants that answer by their weights, each request by one of them; in place of "
        "`version`",
    )
    shadow: ShadowTarget | None = Field(
        None, description="a version or variant that is compared with what answers; null: none"
    )
    pinned: bool = Field(
        default=False, description="whether its files stay in memory: they are loaded at the start, and not evicted"
    )

    @model_validator(mode="after")
    def _names_one_way(self) -> Self:
        if (self.version is None) == (self.targets is None):
            raise PydanticCustomError("one_of", "give either `version` or `targets`")
        if self.targets is not None and self.variant is not None:
            raise PydanticCustomError("one_of", "`variant` belongs to `version`; give each target its own")
        return self

    def as_alias(self) -> alias_rows.Alias:
        """Return what the request asks for."""
        if self.targets is None:
            assert self.version is not None, "the validator has seen to it"
            targets = [alias_rows.Target(self.version, self.variant)]
        else:
            targets = [alias_rows.Target(each.version, each.variant, each.weight) for each in self.targets]
        shadow = None
        if self.shadow is not None:
            shadow = alias_rows.Shadow(self.shadow.version, self.shadow.variant, self.shadow.share)
        return alias_rows.Alias(tuple(targets), shadow, self.pinned)


class TargetOfAlias(Answer):
    """A version or variant that answers for an alias."""

    version: int
    variant: str | None = Field(description="null: the version's default")
    share: float = Field(description="share of the requests that it answers")


class ShadowOfAlias(Answer):
    """A shadow, and what was counted since the alias was set."""

    version: int
    variant: str | None = Field(description="null: the version's default")
    share: float = Field(description="share of the requests that it is asked")
    compared: int = Field(description="examples that it and a target have answered")
    agreement: float | None = Field(description="share of them with the same answer; null: none was compared")
    failed: int = Field(description="examples that only the shadow could not answer")
    dropped: int = Field(description="examples that it was not asked, because the host was busy")
    run_ms: float | None = Field(description="mean time of its runs, in milliseconds; null: none was compared")
    target_run_ms: float | None = Field(description="mean time of the targets' runs for the same examples")


class Alias(Answer):
    """A name for a version, for one of its variants, or for several by weight."""

    version: int = Field(description="the version of the first target")
    variant: str | None = Field(description="the variant of the first target; null: the version's default")
    targets: list[TargetOfAlias]
    shadow: ShadowOfAlias | None
    pinned: bool

    @classmethod
    def of(cls, alias: alias_rows.Alias) -> "Alias":
        """Return the answer for a stored alias."""
        return cls.model_validate(_document(alias))


class CheckOfFile(Answer):
    """What was checked of a file before the alias moved to it."""

    version: int
    variant: str
    provider: str = Field(description="execution provider that ran the file")
    golden_inputs: int = Field(
        description="validation examples that it has answered as it did when it was published; 0: the version was "
        "published without them, and its outputs for zeros were checked alone"
    )
    largest_difference: float | None = Field(description="of any output; null: there were no golden inputs")
    tolerance: float | None = Field(description="largest difference that is allowed; null: there were no golden inputs")


class AliasSet(Alias):
    """An alias that was set, and what was checked before."""

    checks: list[CheckOfFile]

    @classmethod
    def checked(cls, alias: alias_rows.Alias, checks: list[Checked]) -> "AliasSet":
        """Return the answer for an alias whose files were checked."""
        return cls.model_validate(_document(alias) | {"checks": [_check(each) for each in checks]})


def _document(alias: alias_rows.Alias) -> dict[str, object]:
    first, total = alias.targets[0], sum(each.weight for each in alias.targets)
    return {
        "version": first.version,
        "variant": first.variant,
        "targets": [
            {"version": each.version, "variant": each.variant, "share": each.weight / total} for each in alias.targets
        ],
        "shadow": None if alias.shadow is None else _shadow(alias.shadow),
        "pinned": alias.pinned,
    }


def _shadow(shadow: alias_rows.Shadow) -> dict[str, object]:
    counted = shadow.comparison
    compared = counted.compared
    return {
        "version": shadow.version,
        "variant": shadow.variant,
        "share": shadow.share,
        "compared": compared,
        "agreement": counted.agreed / compared if compared else None,
        "failed": counted.failed,
        "dropped": counted.dropped,
        "run_ms": counted.shadow_s * MS / compared if compared else None,
        "target_run_ms": counted.live_s * MS / compared if compared else None,
    }


def _check(checked: Checked) -> dict[str, object]:
    return {
        "version": checked.served.version,
        "variant": checked.served.variant,
        "provider": checked.provider,
        "golden_inputs": checked.examples,
        "largest_difference": checked.largest_difference,
        "tolerance": checked.tolerance,
    }
