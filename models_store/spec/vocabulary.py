"""Words of a vocabulary: what other libraries call the fields, kinds and values of a spec."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Words:
    """Each maps a word, in small letters and without signs."""

    fields: Mapping[str, str]
    """to the field's path in the spec, or its name in single parts; of a word that several have, see `also`"""
    also: Mapping[str, tuple[str, ...]]
    """to what it may mean, where it means several things; the first that is a field of the part is meant"""
    notes: Mapping[str, str]
    """to what to do, where no field has its meaning"""
    kinds: Mapping[str, tuple[str, ...]]
    """to kinds of parts that it may mean; the first that the family has is meant"""
    kind_notes: Mapping[str, str]
    """to what to do, where no kind is needed"""
    values: Mapping[str, tuple[str, ...]]
    """to values that it may mean; the first that is allowed is meant"""
    patterns: Mapping[str, str] = field(default_factory=dict)
    """of texts, as a JSON Schema has them, to what they allow; `patterns` has those of any spec"""

    def __or__(self, others: "Words") -> "Words":
        return Words(**{each.name: {**getattr(self, each.name), **getattr(others, each.name)} for each in fields(self)})


def spread(meanings: Mapping[str, str]) -> dict[str, str]:
    """Return word → meaning, of the words of each meaning in a row."""
    return {word: meaning for meaning, words in meanings.items() for word in words.split()}
