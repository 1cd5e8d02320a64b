"""Registry of models, versions, variants and aliases, and which of them a reference means.

A model exists only if its row does; `publish` adds to them. A reference is `name`, `name@alias`, `name:version`,
each with an optional `/variant`; a bare name means the alias `default` when it is set, else the newest version. Where
no variant is named, the version's default for the provider that serves answers.

ModelNotFound  404
NotServedHere  409  the variant was never measured for the provider that serves, or is a file for use elsewhere
"""

import re
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, func, select

from models_store.errors import Conflict, NotFound
from models_store.models import alias_rows
from models_store.models.alias_rows import Alias
from models_store.models.providers import Provider
from models_store.models.served import Served, Shadowed, weighted
from models_store.models.variant_card import VariantCard
from models_store.storage import tables
from models_store.storage.database import Database
from models_store.tags import has_tag

REFERENCE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,62})"
    r"(?:@(?P<alias>[A-Za-z0-9][A-Za-z0-9._-]{0,59})|:(?P<version>[0-9]{1,9}))?"
    r"(?:/(?P<variant>[a-z0-9][a-z0-9-]{0,59}))?"
)


class ModelNotFound(NotFound):
    """The reference names no existing model, version, variant or alias."""

    code = "model_not_found"
    title = "No such model"


class NotServedHere(Conflict):
    """The variant exists, but has no figures for the provider that serves."""

    code = "variant_not_served_here"
    title = "The variant is not served here"


DEFAULT = "default"
"""the alias of a bare name"""
FALLBACK = "fp32"
"""the variant that every version has, and that every provider runs"""


@dataclass(frozen=True)
class Variant:
    """One exported variant of a version.

    `card` is as its row stores it; `VariantCard` reads it.
    """

    name: str
    blob: str
    size_bytes: int
    card: dict[str, Any]
    accepted: bool
    """on some provider"""

    def is_served_on(self, provider: Provider) -> bool:
        """Return whether the file answers on the provider: where it was measured, and fp32 everywhere."""
        return self.name == FALLBACK or VariantCard.of_document(self.card).runs_on(provider)


@dataclass(frozen=True)
class Version:
    """One training job's outcome."""

    id: str
    owner: str
    model: str
    number: int
    job_id: str
    dataset_id: str | None
    default_variant: str
    """answers on the host that made it; once both providers have had the same default, what answers on a CPU"""
    weights_blob: str | None
    auxiliary_blobs: dict[str, str]
    """what examples are decoded with besides the card, as a vocabulary: name → blob"""
    card: dict[str, Any]
    created_at: float
    defaults: dict[Provider, str]
    """provider → variant that answers there when none is named; of a provider that is not here: fp32"""
    description: str | None
    tags: list[str]
    golden_blob: str | None
    """a few validation examples with every variant's outputs; None: published by an earlier release"""
    variants: tuple[Variant, ...] = ()

    def default_on(self, provider: Provider) -> str:
        """Return the variant that answers on the provider when none is named."""
        return self.defaults.get(provider, FALLBACK)


@dataclass(frozen=True)
class Model:
    """A name with its versions (newest first, without their variants) and aliases."""

    name: str
    created_at: float
    versions: tuple[Version, ...]
    aliases: dict[str, Alias]
    description: str | None = None
    tags: tuple[str, ...] = ()


def models(
    database: Database, *, owner: str, tag: str | None = None, limit: int = 20, cursor: str | None = None
) -> tuple[list[Model], str | None]:
    """Return up to `limit` models in the order of their names, and the cursor of the next page."""
    table = tables.model.c
    query = select(table.name).where(table.owner == owner).order_by(table.name).limit(limit + 1)
    if tag is not None:
        query = query.where(has_tag(table.tags, tag, dialect=database.dialect))
    if cursor:
        query = query.where(table.name > cursor)
    with database.read() as connection:
        names = list(connection.execute(query).scalars())
    found = []
    for name in names[:limit]:
        with suppress(ModelNotFound):  # deleted since then
            found.append(model(database, name, owner=owner))
    return found, names[limit - 1] if len(names) > limit else None


def model(database: Database, name: str, *, owner: str) -> Model:
    """Return a model with its versions and aliases.

    Raises:
        ModelNotFound: if there is none; says which there are.
    """
    with database.read() as connection:
        row = connection.execute(
            select(tables.model.c.created_at, tables.model.c.description, tables.model.c.tags).where(
                tables.model.c.owner == owner, tables.model.c.name == name
            )
        ).first()
        if row is None:
            raise no_model(connection, name, owner)
        versions = connection.execute(
            _versions().where(of_model(tables.version, owner, name)).order_by(tables.version.c.number.desc())
        ).all()
        aliases = alias_rows.read(connection, owner, name)
    return Model(
        name,
        row.created_at,
        tuple(Version(*version) for version in versions),
        aliases,
        row.description,
        tuple(row.tags),
    )


def version(database: Database, name: str, number: int, *, owner: str) -> Version:
    """Return a version with its variants, the default one first.

    Raises:
        ModelNotFound: if there is none; says which there are.
    """
    with database.read() as connection:
        return version_of(connection, name, number, owner=owner)


def resolve(database: Database, reference: str, *, owner: str, provider: Provider) -> Served:
    """Return the file that a reference means now, where `provider` serves; of a weighted alias, all of its files.

    A shadow that can't run on the provider is left out.

    Raises:
        ModelNotFound: if nothing answers to it; says what there is.
        NotServedHere: if the variant that it names is not served on this provider; says which are.
    """
    name, alias, number, variant = _parts(reference)
    shadow = None
    with database.read() as connection:
        if number is not None:
            targets = [(1.0, version_of(connection, name, number, owner=owner), variant)]
        else:
            pointed = _aliased(connection, name, alias, owner=owner)
            targets = [
                (each.weight, version_of(connection, name, each.version, owner=owner), variant or each.variant)
                for each in pointed.targets
            ]
            if pointed.shadow is not None:
                shadow = pointed.shadow, version_of(connection, name, pointed.shadow.version, owner=owner)
    files = [(weight, _served(found, variant, provider=provider)) for weight, found, variant in targets]
    shadowed = None
    if shadow is not None:
        asked, found = shadow
        with suppress(NotServedHere):
            served = _served(found, asked.variant, provider=provider)
            shadowed = Shadowed(alias or DEFAULT, served, asked.share)
    return weighted(files, shadow=shadowed)


def find(database: Database, reference: str, *, owner: str) -> tuple[Version, str | None]:
    """Return the version that a reference means now, and the variant that it or its alias names.

    Raises:
        ModelNotFound: if nothing answers to it; says what there is.
    """
    name, alias, number, variant = _parts(reference)
    with database.read() as connection:
        if number is None:
            first = _aliased(connection, name, alias, owner=owner).targets[0]
            number, variant = first.version, variant or first.variant
        found = version_of(connection, name, number, owner=owner)
    if variant is not None:
        _variant(found, variant)
    return found, variant


def _parts(reference: str) -> tuple[str, str | None, int | None, str | None]:
    """Return the name, alias, version and variant of a reference."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise ModelNotFound(
            f"{reference[:200]!r} is not a reference to a model; write `name`, `name@alias` or `name:version`, each "
            "with an optional `/variant`"
        )
    number = match["version"]
    return match["name"], match["alias"], None if number is None else int(number), match["variant"]


def _served(version: Version, variant: str | None, *, provider: Provider) -> Served:
    chosen = _variant(version, variant or version.default_on(provider))
    if not chosen.is_served_on(provider):
        raise _not_served(version, chosen, provider)
    return Served(
        version.owner,
        version.model,
        version.number,
        chosen.name,
        chosen.blob,
        version.card,
        chosen.card,
        version.auxiliary_blobs,
        chosen.size_bytes,
        version.golden_blob,
    )


def _aliased(connection: Connection, name: str, alias: str | None, *, owner: str) -> Alias:
    """Return what an alias points to; without a name `default`, or the newest version where there is none."""
    found = alias_rows.read(connection, owner, name, name=alias or DEFAULT)
    if found:
        return found[alias or DEFAULT]
    if alias is not None:
        names = alias_rows.read(connection, owner, name)
        raise ModelNotFound(
            f"{name!r} has no alias {alias!r}; it has {', '.join(names) or 'none: PUT one, or name a version'}"
        )
    number = tables.version.c.number
    newest = connection.execute(select(func.max(number)).where(of_model(tables.version, owner, name))).scalar_one()
    if newest is None:
        raise _no_version(connection, name, owner)
    return Alias((alias_rows.Target(newest),))


def version_of(connection: Connection, name: str, number: int, *, owner: str) -> Version:
    """Return a version with its variants, in the caller's transaction; as `version` does."""
    table = tables.version
    row = connection.execute(_versions().where(of_model(table, owner, name), table.c.number == number)).first()
    if row is None:
        numbers = select(table.c.number).where(of_model(table, owner, name)).order_by(table.c.number)
        known = connection.execute(numbers).scalars().all()
        if not known:
            raise _no_version(connection, name, owner)
        raise ModelNotFound(f"{name!r} has no version {number}; it has {', '.join(map(str, known[-20:]))}")
    variant = tables.variant
    query = select(variant.c.name, variant.c.blob, variant.c.size_bytes, variant.c.card, variant.c.accepted).where(
        variant.c.version_id == row.id
    )
    variants = sorted(
        (Variant(*each) for each in connection.execute(query)),
        key=lambda each: (each.name != row.default_variant, each.name),
    )
    return replace(Version(*row), variants=tuple(variants))


def _variant(version: Version, name: str) -> Variant:
    for variant in version.variants:
        if variant.name == name:
            return variant
    raise ModelNotFound(
        f"version {version.number} of {version.model!r} has no variant {name!r}; "
        f"it has {', '.join(each.name for each in version.variants)}"
    )


def _not_served(version: Version, variant: Variant, provider: Provider) -> NotServedHere:
    served = ", ".join(each.name for each in version.variants if each.is_served_on(provider))
    card = VariantCard.of_document(variant.card)
    if card.standalone:
        why = "is a file for use elsewhere: it can only be downloaded"
        what = f"name one of {served}, or no variant"
    elif (reason := card.unmeasurable_on(provider)) is not None:
        why = f"does not run on {provider} here: {reason}"
        what = f"name one of {served}, or no variant"
    else:
        why = f"was never measured on {provider}, which serves here"
        what = (
            f"name one of {served}, or no variant, or measure it first: POST "
            f"/models/{version.model}/versions/{version.number}:measure"
        )
    return NotServedHere(f"variant {variant.name!r} of {version.model}:{version.number} {why}; {what}")


def _no_version(connection: Connection, name: str, owner: str) -> ModelNotFound:
    model = tables.model
    if connection.execute(select(model.c.name).where(model.c.owner == owner, model.c.name == name)).first() is None:
        return no_model(connection, name, owner)
    return ModelNotFound(f"model {name!r} has no versions: all were deleted; POST /train with this name makes one")


def no_model(connection: Connection, name: str, owner: str) -> ModelNotFound:
    """Return the error for a name that no model has; it says which there are."""
    query = select(tables.model.c.name).where(tables.model.c.owner == owner).order_by(tables.model.c.name).limit(20)
    names = connection.execute(query).scalars().all()
    known = f"the models are {', '.join(names)}" if names else "there are none yet: POST /train makes one"
    return ModelNotFound(f"there is no model {name!r}; {known}")


def _versions() -> Any:  # noqa: ANN401  a select of as many columns as Version has fields
    return select(*(tables.version.c[field.name] for field in fields(Version) if field.name != "variants"))


def of_model(table: Any, owner: str, name: str) -> Any:  # noqa: ANN401  SQLAlchemy's own types
    """Return the condition that a row is of this model."""
    return (table.c.owner == owner) & (table.c.model == name)
