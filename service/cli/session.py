"""Session of a command: the service's address, the API key, and the format of the output."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from service.cli.client import Client

USUAL_URL = "http://127.0.0.1:8000"


@dataclass
class Session:
    """The global options, and the client that a command makes of them when it needs one."""

    url: str | None
    api_key: str | None
    as_json: bool

    @cached_property
    def console(self) -> "Console":
        """Return where tables and progress go."""
        from service.cli.screen import Screen  # noqa: PLC0415  0.1 s that `espalier --help` is spared

        return Screen()

    @cached_property
    def client(self) -> "Client":
        """Return the service: the one named, else the local stack of this folder, else the usual port."""
        from service.cli.client import Client  # noqa: PLC0415  as above
        from service.cli.places import home_of, running_url  # noqa: PLC0415  as above

        return Client(self.url or running_url(home_of(None)) or USUAL_URL, api_key=self.api_key)

    def show(self, document: Any, table: Any) -> None:  # noqa: ANN401  any JSON; anything that rich prints
        """Print the document as JSON, or as a table."""
        if self.as_json:
            self.emit(document)
        else:
            self.console.print(table)

    def next_commands(self, commands: Sequence[str]) -> None:
        """Print commands to copy, each on a line of its own."""
        if commands:
            self.console.print(f"next{self._where()}:", soft_wrap=True, markup=False)
        for each in commands:
            self.console.print(f"  {own_name()} {each}", soft_wrap=True, markup=False)

    def _where(self) -> str:
        """Return how the next command finds this service, where it would look for another one."""
        from service.cli.places import home_of, running_url  # noqa: PLC0415  as above

        found = os.environ.get("ESPALIER_URL") or running_url(home_of(None)) or USUAL_URL
        is_found = self.url is None or self.url.rstrip("/") == found.rstrip("/")
        return "" if is_found else f", after `export ESPALIER_URL={shlex.quote(str(self.url))}`"

    def emit(self, document: Any) -> None:  # noqa: ANN401  any JSON
        """Print one line of JSON."""
        typer.echo(json.dumps(document, ensure_ascii=False))


def session_of(context: typer.Context) -> Session:
    """Return the session of a command's context."""
    session = context.find_root().obj
    assert isinstance(session, Session)
    return session


def own_name() -> str:
    """Return how the user can call this program again from here."""
    given = Path(sys.argv[0])
    if given.name != "espalier" or shutil.which("espalier") == str(given.absolute()):
        return "espalier"
    relative = os.path.relpath(given.absolute())
    return str(given) if relative.startswith("..") else relative


def is_interactive() -> bool:
    """Return whether the output is a terminal."""
    return sys.stdout.isatty() and "CI" not in os.environ


def refuse(message: str) -> "typer.Exit":
    """Print the error; the caller raises the returned exit."""
    typer.secho(f"error: {message}", fg="red", err=True)
    return typer.Exit(1)


def existing(path: Path) -> Path:
    """Return the path of a file that is there.

    Raises:
        typer.Exit: if it is not.
    """
    if not path.is_file():
        raise refuse(f"{path}: there is no such file")
    return path
