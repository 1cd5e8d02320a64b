"""Rows of aliases: the targets of each with their weights, its shadow with what was counted, and whether it is pinned.

The first target is in the alias's own row, every other one in `alias_target`, and so is the shadow.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from models_store.storage import tables
from models_store.storage.database import now

LIVE, SHADOW = "live", "shadow"


@dataclass(frozen=True)
class Target:
    """A version that answers for an alias, or one variant of it, and how often among the alias's targets."""

    version: int
    variant: str | None = None
    """None: the version's default"""
    weight: float = 1.0


@dataclass(frozen=True)
class Comparison:
    """What was counted of a shadow since its alias was set."""

    compared: int = 0
    """examples that both have answered"""
    agreed: int = 0
    failed: int = 0
    """examples that the shadow alone could not answer"""
    dropped: int = 0
    """examples that the shadow was not sent because the host was busy"""
    live_s: float = 0.0
    """time of the runs that the compared examples were in, added up"""
    shadow_s: float = 0.0

    def plus(self, more: "Comparison") -> "Comparison":
        """Return both together."""
        return Comparison(*(one + other for one, other in zip(astuple(self), astuple(more), strict=True)))


@dataclass(frozen=True)
class Shadow:
    """A second version that is asked the same, for a share of the requests; nobody gets its answers."""

    version: int
    variant: str | None
    share: float
    comparison: Comparison = Comparison()


@dataclass(frozen=True)
class Alias:
    """What a name points to."""

    targets: tuple[Target, ...]
    """one at least; the first is what a whole version is meant by"""
    shadow: Shadow | None = None
    pinned: bool = False
    """whether its files stay in memory"""


def read(connection: Connection, owner: str, model: str, *, name: str | None = None) -> dict[str, Alias]:
    """Return the aliases of a model, or the one of this name, in the order of their names."""
    alias, more, version = tables.alias, tables.alias_target, tables.version
    mine = [alias.c.owner == owner, alias.c.model == model]
    its = [more.c.owner == owner, more.c.model == model]
    if name is not None:
        mine.append(alias.c.name == name)
        its.append(more.c.alias == name)
    first = select(alias.c.name, version.c.number, alias.c.variant, alias.c.weight, alias.c.pinned)
    rows = connection.execute(
        first.join(version, version.c.id == alias.c.version_id).where(*mine).order_by(alias.c.name)
    ).all()
    if not rows:
        return {}
    others = connection.execute(
        select(more, version.c.number)
        .join(version, version.c.id == more.c.version_id)
        .where(*its)
        .order_by(more.c.position)
    ).all()
    return {row.name: _alias(row, [other for other in others if other.alias == row.name]) for row in rows}


def write(  # noqa: PLR0917  the parts of one row
    connection: Connection, owner: str, model: str, name: str, alias: Alias, version_ids: dict[int, str]
) -> None:
    """Replace an alias, and start counting its shadow anew; `version_ids` has the id of each of its versions."""
    remove(connection, owner, model, name)
    first, *others = alias.targets
    row: dict[str, Any] = {"owner": owner, "model": model, "name": name, "version_id": version_ids[first.version]}
    row |= {"variant": first.variant, "weight": first.weight, "pinned": alias.pinned, "updated_at": now()}
    connection.execute(insert(tables.alias).values(row))
    more = [(LIVE, each.version, each.variant, each.weight) for each in others]
    if alias.shadow is not None:
        more.append((SHADOW, alias.shadow.version, alias.shadow.variant, alias.shadow.share))
    for position, (role, number, variant, weight) in enumerate(more, 1):
        row = {"owner": owner, "model": model, "alias": name, "position": position, "role": role}
        row |= {"version_id": version_ids[number], "variant": variant, "weight": weight}
        connection.execute(insert(tables.alias_target).values(row))


def remove(connection: Connection, owner: str, model: str, name: str | None = None) -> int:
    """Remove an alias, or all of a model; return how many there were."""
    alias, more = tables.alias.c, tables.alias_target.c
    mine, its = [alias.owner == owner, alias.model == model], [more.owner == owner, more.model == model]
    if name is not None:
        mine.append(alias.name == name)
        its.append(more.alias == name)
    connection.execute(delete(tables.alias_target).where(*its))
    return connection.execute(delete(tables.alias).where(*mine)).rowcount


def names_of(connection: Connection, version_id: str) -> list[str]:
    """Return the aliases that name a version in some way, in order."""
    alias, more = tables.alias.c, tables.alias_target.c
    found = set(connection.execute(select(alias.name).where(alias.version_id == version_id)).scalars())
    found |= set(connection.execute(select(more.alias).where(more.version_id == version_id)).scalars())
    return sorted(found)


def _alias(row: Any, others: Sequence[Any]) -> Alias:  # noqa: ANN401  SQLAlchemy's rows
    targets = [Target(row.number, row.variant, row.weight)]
    targets += [Target(each.number, each.variant, each.weight) for each in others if each.role == LIVE]
    shadow = next(
        (
            Shadow(
                each.number,
                each.variant,
                each.weight,
                Comparison(each.compared, each.agreed, each.failed, each.dropped, each.live_s, each.shadow_s),
            )
            for each in others
            if each.role == SHADOW
        ),
        None,
    )
    return Alias(tuple(targets), shadow, row.pinned)
