"""Output: how commands speak. Results go to standard output, as tables or JSON; everything else to standard error."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", envvar="BARWATCH_CONFIG", help="The configuration file.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

CONFIG = Path("config.toml")
TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def instant(moment: datetime) -> str:
    """An instant as `2026-11-20T21:00:00Z`."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def shown(value: Any) -> str:
    """A value as people read it in a cell; None is unknown, midnight has no time of day."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:.6g}"
    return str(value)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table, as wide as it needs to be; every cell is text as it stands."""
    from rich import box  # Rich is loaded only to print
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    _console().print(table)


def print_pairs(pairs: Mapping[str, Any]) -> None:
    """Names and values, one to a line."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        typer.echo(f"{name:<{width}}  {value}")


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200, soft_wrap=False)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Says on a terminal's standard error that something takes a while."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def fail(message: str, hint: str = "") -> None:
    """An error and what to do about it, on standard error."""
    typer.secho(f"error: {message}", fg="red", err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)
