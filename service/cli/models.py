"""`espalier models`: list, show, compress, measure, download, alias, load, unload, edit, delete."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli import editing, specs, submitting
from service.cli.session import refuse, session_of

if TYPE_CHECKING:
    from service.cli.client import Client

app = typer.Typer(no_args_is_help=True)

REFERENCE = re.compile(r"(?P<name>[^@:/]+)(?:@(?P<alias>[^:/]+)|:(?P<version>\d+))?(?:/(?P<variant>[^/]+))?")

SHARE = re.compile(r"(?P<version>\d{1,9})(?:/(?P<variant>[^/=]+))?=(?P<share>\d*\.?\d+)")

Reference = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME:VERSION, each with an optional /VARIANT")
]

ModelOrVersion = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME for the whole model, NAME@ALIAS or NAME:VERSION for one version")
]
WholeVersion = Annotated[str, typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME:VERSION")]


@app.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="largest number of models to list")] = 20,
    tag: Annotated[str | None, typer.Option(help="list only those with this tag")] = None,
) -> None:
    """List models by name."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    models = session.client.items("/models", limit=limit, tag=tag)
    session.show(models, output.model_table(models))


@app.command()
def show(context: typer.Context, model: Reference) -> None:
    """Show a version: how each variant was made, its accuracy, speed and size, and why it was not accepted."""
    from service.cli import output, variants  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    version, _ = _find(session.client, model)
    session.show(version, output.with_words(variants.version_card(version), version))


@app.command()
def compress(
    context: typer.Context,
    model: WholeVersion,
    spec: Annotated[
        Path | None,
        typer.Option(help="JSON file with the content of `compression` in a training spec; `-` reads standard input"),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="e.g. prune.kind=structured, max_accuracy_drop=0.01, quantize.0.kind=fp16, "
            """'quantize=[{"kind":"fp16"}]'""",
        ),
    ] = None,
    *,
    key: submitting.Key = None,
    dry_run: submitting.DryRun = False,
    wait: submitting.Wait = True,
) -> None:
    """Make a new version from a version's weights without training again; without options: static int8."""
    session = session_of(context)
    document = specs.read(spec) if spec is not None else {}
    for each in overrides or []:
        specs.override(document, each)
    path = f"{_path(session.client, model)}:compress"
    if dry_run:
        submitting.show_meaning(session, session.client.post(path, document, dry_run="true"))
    else:
        submitting.see_through(session, session.client.post(path, document, key=key), wait=wait)


@app.command()
def measure(
    context: typer.Context,
    model: WholeVersion,
    *,
    key: submitting.Key = None,
    wait: submitting.Wait = True,
) -> None:
    """Measure a version's files again on the worker's host, and judge them again."""
    session = session_of(context)
    path = f"{_path(session.client, model)}:measure"
    submitting.see_through(session, session.client.post(path, key=key), wait=wait)


@app.command()
def download(
    context: typer.Context,
    model: Reference,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file to write; left out: NAME-VERSION-VARIANT.onnx")
    ] = None,
) -> None:
    """Download one variant's ONNX file; its SHA-256 is checked."""
    session = session_of(context)
    version, variant = _find(session.client, model)
    target = output or Path(f"{version['model']}-{version['version']}-{variant}.onnx")
    path = f"/models/{version['model']}/versions/{version['version']}/variants/{variant}/download"
    digest = session.client.download(path, target)
    session.show({"file": str(target), "sha256": digest}, f"{target} (SHA-256 {digest})")


@app.command()
def alias(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="name of the model")],
    alias: Annotated[str, typer.Argument(help="the alias; a name without an alias means `default`")],
    version: Annotated[int | None, typer.Argument(help="number of the version")] = None,
    variant: Annotated[str | None, typer.Option(help="name of a variant; left out: the version's default")] = None,
    *,
    canary: Annotated[
        str | None,
        typer.Option(metavar="VERSION[/VARIANT]=SHARE", help="answer a share of the requests by another, e.g. 4=0.1"),
    ] = None,
    shadow: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION[/VARIANT]=SHARE", help="also ask another for a share of the requests, and compare"
        ),
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="keep its files in memory")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="remove the alias instead")] = False,
) -> None:
    """Point an alias at a version, at once for all users; without a version, show it."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    path = f"/models/{name}/aliases/{alias}"
    if remove:
        session.client.delete(path)
        session.show({"removed": f"{name}@{alias}"}, f"{name}@{alias} is removed")
    elif version is None:
        if variant or canary or shadow or pin:
            raise refuse("give the number of the version too")
        answer = session.client.get(path)
        session.show(answer, output.alias_words(f"{name}@{alias}", name, answer))
    else:
        body: dict[str, Any] = {"version": version, "variant": variant, "pinned": pin}
        if canary is not None:
            second = _share(canary)
            weight = second.pop("share")
            first = {"version": version, "variant": variant, "weight": 1 - weight}
            body = {"targets": [first, second | {"weight": weight}], "pinned": pin}
        if shadow is not None:
            body["shadow"] = _share(shadow)
        answer = session.client.put(path, body)
        session.show(answer, output.alias_words(f"{name}@{alias}", name, answer))


@app.command()
def load(context: typer.Context, model: Reference) -> None:
    """Load one variant into the service's memory before its first request."""
    _move(context, model, "load")


@app.command()
def unload(context: typer.Context, model: Reference) -> None:
    """Take one variant out of the service's memory; its next request loads it again."""
    _move(context, model, "unload")


@app.command()
def edit(
    context: typer.Context,
    model: ModelOrVersion,
    description: editing.Description = None,
    tags: editing.Tags = None,
    *,
    no_description: editing.NoDescription = False,
    no_tags: editing.NoTags = False,
) -> None:
    """Change the description or tags of a model, or of one version."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    changes = editing.patch(description, tags, no_description=no_description, no_tags=no_tags)
    document = session.client.patch(_path_of_either(session.client, model), changes)
    session.show(document, output.words(model, document))


@app.command()
def delete(context: typer.Context, model: ModelOrVersion, *, yes: editing.Yes = False) -> None:
    """Delete a model with all of its versions and aliases, or one version."""
    session = session_of(context)
    path = _path_of_either(session.client, model)
    what = f"{model} with all of its versions" if "/versions/" not in path else f"version {model}"
    editing.confirm(session, what, yes=yes)
    session.client.delete(path)
    session.show({"deleted": model}, f"{model} is deleted")


def _move(context: typer.Context, model: str, verb: str) -> None:
    """Load or unload a variant, and show where it is then."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    version, variant = _find(session.client, model)
    path = f"/models/{version['model']}/versions/{version['version']}/variants/{variant}:{verb}"
    answer = session.client.post(path)
    session.show(answer, output.memory_words(answer))


def _share(text: str) -> dict[str, Any]:
    """Return the version, variant and share of `VERSION[/VARIANT]=SHARE`."""
    match = SHARE.fullmatch(text)
    if match is None or not 0 < float(match["share"]) < 1:
        raise refuse(f"{text!r} is not VERSION[/VARIANT]=SHARE with a share between 0 and 1, as 4=0.1 or 4/int8=0.1")
    return {"version": int(match["version"]), "variant": match["variant"], "share": float(match["share"])}


def _path_of_either(client: "Client", reference: str) -> str:
    """Return the path of a model, where its bare name is given, or of a version."""
    match = REFERENCE.fullmatch(reference)
    if match is not None and match["name"] == reference:
        return f"/models/{reference}"
    return _path(client, reference)


def _path(client: "Client", reference: str) -> str:
    """Return the path of the whole version that a reference means."""
    if "/" in reference:
        raise refuse(f"{reference!r} names a variant, but this command acts on a whole version; leave the variant out")
    version, _ = _find(client, reference)
    return f"/models/{version['model']}/versions/{version['version']}"


def _find(client: "Client", reference: str) -> tuple[dict[str, Any], str]:
    """Return the version that a reference means, and the variant: the one named, the alias's, else the default."""
    version, variant = named(client, reference)
    return version, variant or _default(version)


def named(client: "Client", reference: str) -> tuple[dict[str, Any], str | None]:
    """Return the version that a reference means, and the variant that it or its alias names."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise refuse(f"{reference!r} is not a reference: give NAME, NAME@ALIAS or NAME:VERSION, each with /VARIANT")
    name, alias, number, variant = match["name"], match["alias"], match["version"], match["variant"]
    if number is None:
        model = client.get(f"/models/{name}")
        aliases = model["aliases"]
        if alias is not None and alias not in aliases:
            raise refuse(f"{name!r} has no alias {alias!r}; it has {', '.join(sorted(aliases)) or 'none'}")
        aliased = aliases.get(alias or "default")
        number = aliased["version"] if aliased else max(version["version"] for version in model["versions"])
        variant = variant or (aliased["variant"] if aliased else None)
    return client.get(f"/models/{name}/versions/{number}"), variant


def _default(version: dict[str, Any]) -> str:
    """Return the variant to fetch when none is named: what answers on a CPU, or else on the only provider."""
    defaults: dict[str, str] = version["defaults"]
    if "cpu" not in defaults and len(defaults) != 1:
        return str(version["default_variant"])
    return defaults.get("cpu") or next(iter(defaults.values()))
