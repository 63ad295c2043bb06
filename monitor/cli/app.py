"""The command `barwatch`: its commands, and the one place where an error becomes a message and an exit code."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from monitor.cli import analyze, bars, demo, doctor, inspect, operate, output, watchlist
from monitor.errors import BarwatchError, ConditionError

app = typer.Typer(
    name="barwatch",
    help="Watches closed market bars and tells people once when something they asked for has happened.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (demo, operate, inspect, bars, doctor, analyze):
    for name, command in module.COMMANDS.items():
        app.command(name)(command)
app.add_typer(watchlist.app, name="watchlist")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"barwatch {version('barwatch')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; exit 0 ok, 1 failed, 2 usage, 75 store in use, 78 configuration."""
    try:
        app()
    except BarwatchError as error:
        place = f"\n{error.pointed()}" if isinstance(error, ConditionError) else ""
        output.fail(error.message + place, error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
