"""Previews of augmentation that can be read: examples beside their changed copies."""

from pydantic import Field

from service.answers.answer import Answer


class Change(Answer):
    """A changed copy of an example."""

    part: str | None = Field(description="kind of the part that changed it; null: all parts, as training draws them")
    text: str = Field(description="the copy; U+FFFD stands for a token that is hidden")
    mixed_with: str | None = Field(description="the example whose features are blended with its own; null: none")
    share: float | None = Field(description="how much is taken of the other one; null: it is not mixed")


class ChangedExample(Answer):
    """An example of the train split with its changed copies."""

    file: str = Field(description="path in the archive that was uploaded, or table and line")
    target: str | float | list[str] = Field(description="its class, number or labels")
    text: str = Field(description="its first 1,000 characters")
    is_cut: bool = Field(description="whether it is longer")
    parts: list[Change] = Field(description="what each part makes of it alone, applied to every example")
    views: list[Change] = Field(description="copies that are changed by all parts together, each with its probability")


class ChangedExamples(Answer):
    """A preview of augmentation: the same seed gives the same one."""

    seed: int
    items: list[ChangedExample]
