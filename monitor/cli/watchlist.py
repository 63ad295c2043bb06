"""Commands that show and edit watchlists; edits keep comments and are checked before the file is touched."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli.output import CONFIG, AsJson, ConfigPath, print_json, print_table
from monitor.errors import InputError

app = typer.Typer(help="Show and edit watchlists.", no_args_is_help=True)

InList = Annotated[str | None, typer.Option("--list", "-l", help="The watchlist; needed when there are several.")]
OneSymbol = Annotated[str, typer.Argument(help="The symbol, as the provider spells it.")]


@app.command("list")
def show(config: ConfigPath = CONFIG, as_json: AsJson = False) -> None:
    """List the watchlists with their symbols and checks."""
    from monitor.config.snapshot import load_snapshot

    snapshot = load_snapshot(config)
    if as_json:
        print_json({name: watchlist.model_dump(mode="json") for name, watchlist in snapshot.watchlists.items()})
        return
    for name, watchlist in snapshot.watchlists.items():
        typer.echo(f"{name}: {watchlist.title or 'untitled'} ({', '.join(watchlist.timeframes)})")
        typer.echo(f"  symbols: {', '.join(watchlist.symbols)}")
        columns = ["  check", "condition", "trigger", "severity", "cooldown", "symbols", "channels"]
        print_table(
            "",
            columns,
            [
                [
                    f"  {check.name}",
                    check.when or "the trend rule",
                    check.trigger if check.when else "",
                    check.severity or watchlist.severity or "warning",
                    check.cooldown or watchlist.cooldown or "",
                    ", ".join(check.symbols or ()) or "all",
                    ", ".join(watchlist.channels if check.channels is None else check.channels),
                ]
                for check in watchlist.checks
            ],
        )


@app.command()
def add(
    symbol: OneSymbol,
    when: Annotated[str | None, typer.Option(help='A condition for this symbol, such as "close > 250".')] = None,
    name: Annotated[str | None, typer.Option(help="What to call the check.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Tell it on this channel; repeatable.")] = None,
    cooldown: Annotated[str | None, typer.Option(help='Quiet time after a message, such as "5 bars" or "3d".')] = None,
    watchlist: InList = None,
    config: ConfigPath = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Add a symbol to a watchlist and, with --when, a check for it."""
    from monitor.config.edit import add_symbol
    from monitor.config.snapshot import load_snapshot

    snapshot = load_snapshot(config)
    path = _file(snapshot, watchlist)
    if when is None and (name or channel or cooldown):
        raise InputError("--name, --channel and --cooldown belong to a check", "add --when with its condition")
    check: dict[str, Any] | None = None
    if when is not None:
        check = {"name": name or _named(symbol, when), "when": when, "symbols": [symbol]}
        check |= {"channels": channel} if channel else {}
        check |= {"cooldown": cooldown} if cooldown else {}
    add_symbol(config, path, symbol, check)
    _done({"watchlist": path.stem, "symbol": symbol, "check": check and check["name"]}, "added to", as_json)


@app.command()
def remove(symbol: OneSymbol, watchlist: InList = None, config: ConfigPath = CONFIG, as_json: AsJson = False) -> None:
    """Take a symbol out of a watchlist, with the checks that watch it alone."""
    from monitor.config.edit import remove_symbol
    from monitor.config.snapshot import load_snapshot

    snapshot = load_snapshot(config)
    path = _file(snapshot, watchlist)
    remove_symbol(config, path, symbol)
    _done({"watchlist": path.stem, "symbol": symbol}, "removed from", as_json)


def _file(snapshot: Any, name: str | None) -> Path:
    names = list(snapshot.watchlists)
    if name is None and len(names) > 1:
        raise InputError(f"there are several watchlists: {', '.join(names)}", "name one with --list")
    if name is not None and name not in names:
        raise InputError(f"there is no watchlist {name!r}", f"there: {', '.join(names)}")
    folder: Path = snapshot.folder / snapshot.settings.watchlists
    return folder / f"{name or names[0]}.toml"


def _named(symbol: str, when: str) -> str:
    """A readable name for a check from its condition."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{symbol} {when}".lower().replace(">", " above ").replace("<", " below "))
    return words.strip("-")[:64].rstrip("-")


def _done(what: dict[str, Any], did: str, as_json: bool) -> None:
    if as_json:
        print_json(what)
        return
    typer.echo(f"{what['symbol']} {did} {what['watchlist']}")
    if what.get("check"):
        typer.echo(f"check {what['check']!r} watches it from the next start or `once` on")
