"""Suggestions for wrong names: other spellings, words of other libraries, and similar names."""

import difflib
from collections.abc import Iterable, Mapping
from functools import cache

from pydantic import BaseModel

from models_store.spec.part import words_of
from models_store.spec.schema_walk import Schema, kinds_with, paths, places, schema_of
from models_store.spec.vocabulary import Words

LONGEST_NAME = 100
"""Longest name for which similar names are searched; a name of a megabyte would take seconds."""


def plain(name: str) -> str:
    """Return a name in small letters without signs: `ResNet-18` and `resnet_18` become the same."""
    return "".join(letter for letter in name[:LONGEST_NAME].casefold() if letter.isalnum())


def alike(name: str, known: Iterable[str], *, words: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return the known name that is probably meant: another spelling, another library's word, a longer or a similar name."""
    known = list(known)
    bare = plain(name)
    same = [each for each in known if plain(each) == bare]
    synonymous = [each for each in words.get(bare, ()) if each in known]
    holding = [each for each in known if len(bare) > 2 and bare in plain(each)]  # noqa: PLR2004  no syllable
    return next(iter([*same, *synonymous, *holding]), None) or close(name, known, cutoff=0.6)


def kind_alike(name: str, known: Iterable[str], model: type[BaseModel]) -> str | None:
    """Return the kind of a part that is probably meant, in a body of a model."""
    return alike(name, known, words=words_of(model).kinds)


def close(name: str, known: Iterable[str], *, cutoff: float) -> str | None:
    """Return the most similar known name, ignoring case."""
    if len(name) > LONGEST_NAME:
        return None
    folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def ranked(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names, the most similar first."""
    bare = plain(name)
    return sorted(known, key=lambda each: -difflib.SequenceMatcher(None, bare, plain(each)).ratio())


def key_alike(name: str, known: Iterable[str], model: type[BaseModel]) -> str | None:
    """Return the key of an object that is probably meant: another spelling, another library's word or a similar key."""
    known = list(known)
    return _key_here(name, known, words_of(model)) or close(name, known, cutoff=0.5)


def path_alike(name: str, model: type[BaseModel]) -> str | None:
    """Return the path of the field that a name without its path probably means."""
    return _exactly(name, model) or _synonym(name, model)


def advice_on_key(key: str, node: Schema, *, union: Schema, model: type[BaseModel]) -> str:
    """Return advice about a key that a node of a model's schema does not have."""
    here, root = list(node.get("properties", {})), schema_of(model)
    words = words_of(model)
    meant = _key_here(key, here, words)
    if meant is None and (others := kinds_with({key}, union, root)):
        return f"it is a field of {' and '.join(others)}; the keys here are {', '.join(sorted(here))}"
    home = "" if meant else home_of(key, here, model)
    if "a kind of" in home:
        return home
    meant = meant or _exactly(key, model) or close(key, here, cutoff=0.75) or _synonym(key, model)
    if meant is None and (note := words.notes.get(plain(key))):
        return note
    meant = meant or _similar(key, here, model)
    return f"did you mean {meant!r}?" if meant else f"the keys are {', '.join(sorted(here))}"


def home_of(name: str, known: Iterable[str], model: type[BaseModel]) -> str:
    """Return a sentence about the same name elsewhere in the spec; nothing if it is known here except for its case."""
    homes = [] if name.casefold() in {each.casefold() for each in known} else _homes(model).get(name.casefold(), [])
    return f"`{name}` is {' and '.join(homes)}" if homes else ""


def _key_here(key: str, here: list[str], words: Words) -> str | None:
    """Return the key of this object that is meant, by its other spellings and by the words of other libraries."""
    bare = plain(key)
    same = [each for each in here if plain(each) == bare]
    meant = (*words.also.get(bare, ()), words.fields.get(bare, ""))
    return next(iter([*same, *(last for word in meant if (last := word.rpartition(".")[2]) in here)]), None)


def _exactly(key: str, model: type[BaseModel]) -> str | None:
    """Return the path of the field with this spelling elsewhere; of several, the one that is usually meant."""
    known = _paths_by_name(model)
    preferred = (path for path in words_of(model).also.get(plain(key), ()) if path in known.values())
    return next(preferred, None) or known.get(plain(key))


def _synonym(key: str, model: type[BaseModel]) -> str | None:
    """Return the path of the field that has this name in other libraries."""
    bare, there, words = plain(key), set(_paths_by_name(model).values()), words_of(model)
    for path in (*words.also.get(bare, ()), words.fields.get(bare, "")):
        below = path.partition(".")[2]  # in a body that is a part of a spec
        if path in there or below in there:
            return path if path in there else below
    return None


def _similar(key: str, here: list[str], model: type[BaseModel]) -> str | None:
    by_name = {path.rpartition(".")[2]: path for path in reversed(_paths(model))}
    elsewhere = close(key, by_name, cutoff=0.75)
    return by_name[elsewhere] if elsewhere else close(key, here, cutoff=0.5)


@cache
def _paths(model: type[BaseModel]) -> tuple[str, ...]:
    root = schema_of(model)
    return tuple(paths(root, root))


@cache
def _paths_by_name(model: type[BaseModel]) -> dict[str, str]:
    """Return the plain name, or whole path, of each field → its path, where that lies nearest to the top."""
    found: dict[str, str] = {}
    for path in _paths(model):
        found.setdefault(plain(path), path)
    for path in sorted(_paths(model), key=lambda each: each.count(".")):
        found.setdefault(plain(path.rpartition(".")[2]), path)
    return found


@cache
def _homes(model: type[BaseModel]) -> dict[str, list[str]]:
    """Return name, in small letters → the field or kind that it is, where that lies nearest to the top."""
    root = schema_of(model)
    found: dict[str, list[str]] = {}
    for name, home in sorted(places(root, root), key=lambda place: place[1].count(".")):
        homes = found.setdefault(name.casefold(), [])
        if home not in homes and (not homes or home.count(".") == homes[0].count(".")):
            homes.append(home)
    return found
