"""`espalier`: the command line, which is an HTTP client of the service and runs the local stack.

Slow imports come late.
"""

from importlib.metadata import version
from typing import Annotated

import typer
from typer.core import TyperGroup

from service.cli import datasets, jobs, local, models, predicting, predicting_datasets, train, weights, workers
from service.cli.session import Session


class Commands(TyperGroup):
    """All commands; a refusal of the service is printed for users, and the exit code is 1."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer's context is click's
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from service.cli.client import ClientError, Refused  # noqa: PLC0415  httpx is slow to import

            if isinstance(error, OSError | UnicodeError) or type(error).__name__ == "ValidationError":
                typer.secho(f"error: {error}", fg="red", err=True)  # a file, a folder, or a setting of the user's
                raise typer.Exit(1) from error
            if not isinstance(error, ClientError):
                raise
            if isinstance(error, Refused):
                from service.cli.output import print_problem  # noqa: PLC0415  as above
                from service.cli.screen import Screen  # noqa: PLC0415  as above

                print_problem(Screen(stderr=True), error.problem)
            else:
                typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(1) from error


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer's signature
    if wanted:
        typer.echo(f"espalier {version('espalier')}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def espalier(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(envvar="ESPALIER_URL", help="address of the service; left out: the local stack of ESPALIER_HOME"),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="ESPALIER_API_KEY", help="your API key, if the service needs one")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Train, shrink and serve deep-learning models. Start with `espalier demo`, or `espalier up`."""
    context.obj = Session(url=url, api_key=api_key, as_json=as_json)


app.command("up")(local.up)
app.command("demo")(local.demo)
app.command("train")(train.train)
app.command("predict")(predicting.predict)
app.command("predict-dataset")(predicting_datasets.predict_dataset)
app.command("workers")(workers.workers)
app.command("queue")(workers.queue)
app.add_typer(jobs.app, name="jobs", help="List, show, follow, cancel and delete jobs.")
app.add_typer(models.app, name="models", help="List, show, compress, measure, download and delete models.")
app.add_typer(datasets.app, name="datasets", help="Upload, list, show, preview and delete datasets.")
app.add_typer(weights.app, name="weights", help="Upload files of initial weights.")

if __name__ == "__main__":
    app()
