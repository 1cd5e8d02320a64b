"""Hot swap of an alias: every file is loaded, warmed and checked before the alias moves, and old ones leave after.

    load ─► warm ─► check on golden inputs ─► move the alias ─► forget what references meant, in every process
      ─► old files leave when their last request is answered, unless they are used again

A check that fails leaves the alias where it was. Requests that have begun with an old file finish with it; those that
come after the answer get a new one.

TargetUnfit 422
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from models_store.errors import FieldError, Invalid
from models_store.models import aliases, registry
from models_store.models.alias_rows import Alias
from models_store.models.registry import ModelNotFound, NotServedHere
from models_store.models.served import Served
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.tasks import rooms
from service.inference import devices
from service.inference.engine import Engine
from service.inference.golden import Checked, check
from service.inference.references import References
from service.threads import Threads


class TargetUnfit(Invalid):
    """The targets of an alias, or its shadow, do not take the same examples, or do not answer the same question."""

    code = "alias_target_unfit"
    title = "The versions do not fit together"


class Swaps:
    """Changes of aliases in one process. `engine` runs what is checked."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        *,
        settings: Settings,
        engine: Engine,
        references: References,
        threads: Threads,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._engine = engine
        self._references = references
        self._threads = threads

    async def set_alias(
        self, name: str, alias: str, to: Alias, *, owner: str, release: Callable[[set[str]], None]
    ) -> list[Checked]:
        """Point an alias at other files, after they were checked; return what was. `release` unloads the old ones.

        Raises:
            ModelNotFound, NotServedHere: as registry.resolve does, for any of the versions.
            TargetUnfit: if they are of different tasks, or the shadow has other labels than a target.
            CheckFailed, ModelUnusable: as `golden.check` does; the alias has not moved.
        """
        new = await asyncio.to_thread(self._files, name, to, owner=owner)
        _refuse_misfits(new, to)
        checked = {each.blob: each for each in new}.values()
        checks = [  # one after the other: none may hold the room that the next one needs
            await check(self._engine, each, blobs=self._blobs, settings=self._settings) for each in checked
        ]
        old = await asyncio.to_thread(self._named, name, alias, owner=owner)
        await self._threads.writers.run(aliases.set_alias, self._database, name, alias, owner=owner, to=to)
        self._references.forget()
        release(old - await asyncio.to_thread(self._named_by_any, name, owner=owner))
        return checks

    def _files(self, name: str, to: Alias, *, owner: str) -> list[Served]:
        """Return the file of every target and of the shadow, in this order."""
        named = [(each.version, each.variant) for each in to.targets]
        if to.shadow is not None:
            named.append((to.shadow.version, to.shadow.variant))
        provider = devices.serving(self._settings.device)
        resolve = partial(registry.resolve, self._database, owner=owner, provider=provider)
        return [resolve(f"{name}:{version}" + (f"/{variant}" if variant else "")) for version, variant in named]

    def _named(self, name: str, alias: str, *, owner: str) -> set[str]:
        """Return the files that the alias means now; none if it does not exist."""
        with suppress(ModelNotFound, NotServedHere):
            found = aliases.alias_of(self._database, name, alias, owner=owner)
            return {each.blob for each in self._files(name, found, owner=owner)}
        return set()

    def _named_by_any(self, name: str, *, owner: str) -> set[str]:
        """Return the files that the model's aliases mean now."""
        found = registry.model(self._database, name, owner=owner).aliases
        return {blob for alias in found for blob in self._named(name, alias, owner=owner)}


def _refuse_misfits(files: list[Served], to: Alias) -> None:
    first = files[0]
    for index, each in enumerate(files[1:], 1):
        pointer = f"/targets/{index}/version" if index < len(to.targets) else "/shadow/version"
        task, other = rooms.task_of(first.card), rooms.task_of(each.card)
        if task != other:
            raise _unfit(pointer, f"{first.name} is of the task {task}, and {each.name} of {other}")
    if to.shadow is not None:
        *targets, shadow = files
        for each in targets:
            if each.card["labels"] != shadow.card["labels"]:
                message = f"{each.name} and {shadow.name} have different labels, so they can't be compared"
                raise _unfit("/shadow/version", message)


def _unfit(pointer: str, message: str) -> TargetUnfit:
    return TargetUnfit(f"{pointer}: {message}", errors=[FieldError(pointer, TargetUnfit.code, message)])
