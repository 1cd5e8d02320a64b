"""Options and steps of changes and deletions: descriptions and tags, and the question before a deletion."""

import sys
from typing import Annotated, Any

import typer

from service.cli.session import Session, refuse

Description = Annotated[str | None, typer.Option("--description", help="new description; it replaces the old one")]
NoDescription = Annotated[bool, typer.Option("--no-description", help="remove the description")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", help="a tag; repeat the option for more: they replace all old tags")
]
NoTags = Annotated[bool, typer.Option("--no-tags", help="remove all tags")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="delete without asking")]


def patch(
    description: str | None, tags: list[str] | None, *, no_description: bool, no_tags: bool, **more: str | None
) -> dict[str, Any]:
    """Return the merge patch that the options ask for.

    Raises:
        typer.Exit: if they contain no change, or two contradicting ones.
    """
    if (description is not None and no_description) or (tags and no_tags):
        raise refuse("an option and its --no- variant contradict each other; give one of them")
    changes: dict[str, Any] = {name: value for name, value in more.items() if value is not None}
    if description is not None or no_description:
        changes["description"] = description
    if tags or no_tags:
        changes["tags"] = tags or []
    if not changes:
        options = ", ".join(f"--{name}" for name in [*more, "description", "tag", "no-description", "no-tags"])
        raise refuse(f"there is nothing to change; give one of {options}")
    return changes


def confirm(session: Session, what: str, *, yes: bool) -> None:
    """Ask at a terminal whether to delete `what`; scripts are not asked.

    Raises:
        typer.Exit: if the answer is no.
    """
    if yes or session.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not typer.confirm(f"Delete {what}? This can't be undone"):
        raise refuse("nothing was deleted")
