"""Paths of the service, with the methods and verbs of each.

A path that ends in a verb belongs to that verb only, although `/jobs/{id}` matches `/jobs/job_1:cancel` too.
"""

import re
from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import Route

SLASHES = re.compile("/+")
EVERY = "*"
"""Target of a request to the whole server (RFC 9110, section 9.3.7)."""


class Paths:
    """The paths of some routers (Starlette names only the methods of the first route)."""

    def __init__(self, routers: Sequence[APIRouter], others: Sequence[object] = ()) -> None:
        served = [*(route for router in routers for route in router.routes), *others]
        self._routes = [route for route in served if isinstance(route, Route)]
        self._verbs = [route for route in self._routes if isinstance(route, APIRoute) and "}:" in route.path]

    def methods(self, path: str) -> list[str]:
        """Return the methods of a path, including HEAD and OPTIONS; empty if nothing is served there."""
        if path == EVERY:
            found = self._routes
        else:
            matching = [route for route in self._routes if route.path_regex.match(path)]
            found = [route for route in matching if "}:" in route.path] or matching
        methods = {method for route in found for method in route.methods or ()}
        if not methods:
            return []
        return sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))

    def verbs(self, path: str) -> list[str]:
        """Return the verbs (`:cancel`) of the resource before the last colon of a path."""
        named = path.rpartition(":")[0]
        pairs = ((route.path.rpartition("}:")[2], route.path_regex) for route in self._verbs)
        return sorted({verb for verb, regex in pairs if named and regex.match(f"{named}:{verb}")})

    def is_verb(self, path: str) -> bool:
        """Return whether a path is that of a verb, with well-formed ids (`x` is not)."""
        matches = ((route, route.path_regex.match(path)) for route in self._verbs)
        return any(
            not any(field.validate(match[field.alias], {}, loc=())[1] for field in route.dependant.path_params)
            for route, match in matches
            if match
        )

    def without_stray_slashes(self, path: str) -> str | None:
        """Return the served path that remains without double and trailing slashes; None if there is none."""
        tidy = SLASHES.sub("/", path).rstrip("/") or "/"
        return tidy if tidy != path and self.methods(tidy) else None
