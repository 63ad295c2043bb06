"""Commands that run Barwatch: init, validate, run, once."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.output import CONFIG, TIMES, AsJson, ConfigPath, instant, print_json, print_pairs, print_table, working
from monitor.errors import ConfigError, InputError

if TYPE_CHECKING:
    from monitor.config.snapshot import Snapshot

STARTER = ("config.toml", "watchlists/us-large-caps.toml")


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a commented config.toml and a watchlist to begin with."""
    source = Path(__file__).parent.parent / "config" / "starter"
    written = []
    for name in STARTER:
        if (folder / name).exists():
            raise InputError(f"{folder / name} is there already and was left as it is", "name another folder")
    try:
        for name in STARTER:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text((source / name).read_text(encoding="utf-8"), encoding="utf-8")
            written.append(str(folder / name))
        (folder / "bars" / "1d").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {folder / name}: {error.strerror}", "name a folder you may write") from error
    if as_json:
        print_json({"written": written})
        return
    for name in written:
        typer.echo(f"wrote {name}")
    typer.echo(
        f"next: put one CSV a symbol into {folder / 'bars' / '1d'}, such as AAPL.csv, edit the watchlist,\n"
        f"then `barwatch validate`, `barwatch check`, and `barwatch run` (each with --config {folder / 'config.toml'})"
        if folder != Path()
        else "next: put one CSV a symbol into bars/1d, such as AAPL.csv, edit the watchlist,\n"
        "then `barwatch validate`, `barwatch check`, and `barwatch run`"
    )


def validate(config: ConfigPath = CONFIG, as_json: AsJson = False) -> None:
    """Check config.toml and every watchlist; say file, line and column of a mistake."""
    from monitor.config.snapshot import load_snapshot

    snapshot = load_snapshot(config)
    summary = _summary(snapshot)
    if as_json:
        print_json(summary)
        return
    columns = ["watchlist", "symbols", "timeframes", "checks", "channels"]
    print_table("", columns, [[_shown(row[name]) for name in columns] for row in summary["watchlists"]])
    polls = {"fallback": summary["fallback"]} if summary["fallback"] else {}
    polls |= {"polls": str(snapshot.budget)} if snapshot.budget else {}
    print_pairs(
        {
            "provider": summary["provider"],
            **polls,
            "channels": ", ".join(summary["channels"]),
            "config": snapshot.digest,
        }
    )
    typer.echo("valid")


def _summary(snapshot: "Snapshot") -> dict[str, Any]:
    return {
        "config": snapshot.digest,
        "provider": snapshot.settings.provider.kind,
        "fallback": snapshot.settings.fallback.kind if snapshot.settings.fallback else None,
        "budget": vars(snapshot.budget) if snapshot.budget else None,
        "channels": sorted(snapshot.settings.channels),
        "watchlists": [
            {
                "watchlist": name,
                "symbols": len(watchlist.symbols),
                "timeframes": watchlist.timeframes,
                "checks": [check.name for check in watchlist.checks],
                "channels": watchlist.channels,
            }
            for name, watchlist in snapshot.watchlists.items()
        ],
    }


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, (str, int)) else ", ".join(value)


def run(
    config: ConfigPath = CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Log JSON on a terminal too.")] = False,
) -> None:
    """Run the daemon: evaluate every bar as it closes and tell what was asked for, until SIGTERM or Ctrl-C."""
    import asyncio

    from monitor.assembly import assembled
    from monitor.config.snapshot import load_snapshot
    from monitor.daemon import Daemon
    from monitor.telemetry import set_up_logging

    snapshot = load_snapshot(config)
    set_up_logging(snapshot.settings.log_level, as_json=as_json)
    with assembled(snapshot) as parts:
        asyncio.run(Daemon(parts).run())


def once(
    config: ConfigPath = CONFIG,
    at: Annotated[
        datetime | None,
        typer.Option(
            formats=TIMES,
            help="Act as if it were this time, UTC; for the replay provider.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate all that is due, send what is in the outbox, and stop: for cron."""
    from monitor import assembly
    from monitor.config.snapshot import load_snapshot
    from monitor.telemetry import set_up_logging

    snapshot = load_snapshot(config)
    set_up_logging("warning" if snapshot.settings.log_level == "info" else snapshot.settings.log_level)
    if at and snapshot.settings.provider.kind != "replay":
        raise ConfigError("--at works with the replay provider only", 'set kind = "replay" in [provider]')
    now = at.replace(tzinfo=UTC) if at else assembly.clock()
    clock = (lambda: now) if at else assembly.clock
    console = sys.stderr if as_json else sys.stdout
    with working("evaluating and sending"), assembly.assembled(snapshot, clock=clock, console=console) as parts:
        cycles = assembly.once(parts, now)
        waiting = parts.outbox.waiting()
    receipts = [cycle.receipt() for cycle in cycles]
    if as_json:
        print_json({"now": instant(now), "cycles": receipts, "waiting": waiting})
    else:
        columns = ["timeframe", "asked", "evaluated", "bars", "events", "told", "held", "missing"]
        print_table("", columns, [[*(r[name] for name in columns[:-1]), len(r["missing"])] for r in receipts])
        for receipt in receipts:
            for symbol, why in receipt["missing"].items():
                typer.echo(f"missing {symbol} {receipt['timeframe']}: {why}")
            for symbol in receipt["rewritten"]:
                typer.echo(f"rewritten {symbol} {receipt['timeframe']}: its stored bars were changed by the provider")
        for channel, count in waiting.items():
            typer.echo(f"waiting for channel {channel}: {count} (see `barwatch deliveries --state pending`)")
    if any(receipt["missing"] for receipt in receipts) or waiting:
        raise typer.Exit(1)


COMMANDS = {"init": init, "validate": validate, "run": run, "once": once}
