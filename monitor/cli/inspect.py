"""Commands that look: check, explain, events, deliveries."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.output import (
    CONFIG,
    TIMES,
    AsJson,
    ConfigPath,
    instant,
    print_json,
    print_pairs,
    print_table,
    shown,
    working,
)
from monitor.errors import InputError

if TYPE_CHECKING:
    from monitor.config.snapshot import Snapshot, Watched
    from monitor.explain import BarExplained
    from monitor.stores.database import Database

Since = Annotated[
    datetime | None, typer.Option(formats=TIMES, help="Only bars that closed at or after this time, UTC.")
]
Limit = Annotated[int, typer.Option(min=1, help="How many to show, newest first.")]
OfSymbol = Annotated[str | None, typer.Option("--symbol", help="Only this symbol.")]
OfCheck = Annotated[str | None, typer.Option("--check", help="Only this check.")]


def check(
    watchlist: Annotated[str | None, typer.Argument(help="Only this watchlist.")] = None,
    symbol: OfSymbol = None,
    config: ConfigPath = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Evaluate now and show what would fire; stores nothing and sends nothing."""
    from monitor import assembly
    from monitor.config.snapshot import load_snapshot
    from monitor.telemetry import set_up_logging

    set_up_logging("warning")
    snapshot = load_snapshot(config)
    _known(watchlist, snapshot.watchlists, "watchlist")
    _known(symbol, {name for one in snapshot.watchlists.values() for name in one.symbols}, "symbol")
    with working("asking the provider"):
        rows, missing = assembly.look(snapshot, watchlist, symbol, assembly.clock())
    if as_json:
        print_json({"checks": rows, "missing": missing})
    else:
        columns = ["symbol", "timeframe", "bar", "class", "trend", "check", "now", "fires"]
        print_table("", columns, [[shown(row[name]) for name in columns] for row in rows])
        for name, why in missing.items():
            typer.echo(f"missing {name}: {why}")
    if not rows:
        raise typer.Exit(1)


def explain(
    symbol: Annotated[str, typer.Argument(help="A watched symbol.")],
    timeframe: Annotated[str, typer.Argument(help="A watched timeframe, such as 1d.")],
    at: Annotated[
        datetime | None, typer.Option(formats=TIMES, help="The bar's label, UTC; the newest by default.")
    ] = None,
    check: OfCheck = None,
    config: ConfigPath = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Say why a check fired at a bar, or why it did not."""
    from contextlib import closing
    from dataclasses import asdict

    from monitor import explain as explaining
    from monitor.config.snapshot import load_snapshot
    from monitor.core.timeframe import parse_timeframe
    from monitor.stores.bars import BarStore
    from monitor.stores.history import History

    snapshot = load_snapshot(config)
    watched = _watched(snapshot, parse_timeframe(timeframe).name, symbol)
    checks = [one for one, of in watched.checks.items() if symbol in of and check in (None, watched.names[one.digest])]
    if not checks:
        raise InputError(
            f"no check {check!r} watches {symbol} at {timeframe}", f"there: {', '.join(watched.names.values())}"
        )
    with closing(open_store(snapshot, "bars")) as bars, closing(open_store(snapshot, "state")) as state:
        history = BarStore(bars).newest(timeframe, [symbol], None)
        history = history.filter(history["ts"] <= at.replace(tzinfo=UTC)) if at else history
        found = explaining.explain(history, watched, checks, History(state))
    if as_json:
        print_json(asdict(found))
    else:
        _print_explained(found)


def _print_explained(found: "BarExplained") -> None:
    bar = found.bar
    print_pairs(
        {
            "bar": f"{found.symbol} {found.timeframe} {bar['ts']:%Y-%m-%d %H:%M}, closed {instant(bar['closed_at'])}",
            "prices": "  ".join(f"{name} {shown(bar[name])}" for name in ("open", "high", "low", "close")),
            "class": found.class_reason,
            "trend": found.trend_reason,
            "config": found.config_digest,
        }
    )
    for check in found.checks:
        typer.echo(f"\n{check.check}: {check.verdict}")
        settled = "" if check.settled else "; less history than its memory asks for (unsettled)"
        print_pairs(
            {
                "  condition": check.condition,
                "  lookback": f"{check.lookback} bars{settled}",
                "  armed from": f"{check.armed_from:%Y-%m-%d %H:%M}" if check.armed_from else "not armed yet",
            }
        )
        print_table(
            "", ["  value", "at this bar", "bar before"], [[f"  {n}", *map(shown, v)] for n, v in check.values.items()]
        )
        for told in check.deliveries:
            typer.echo(f"  {told['channel']}: {told['state']} ({told['reason']}: {told['detail']})")


def events(
    symbol: OfSymbol = None,
    check: OfCheck = None,
    since: Since = None,
    limit: Limit = 50,
    config: ConfigPath = CONFIG,
    as_json: AsJson = False,
) -> None:
    """List what was found, newest first."""
    from contextlib import closing

    from monitor.config.snapshot import load_snapshot
    from monitor.stores.history import History

    with closing(open_store(load_snapshot(config), "state")) as state:
        found = History(state).events(since=_utc(since), limit=limit, symbol=symbol, check_name=check)
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("nothing found", err=True)
    columns = ["bar", "symbol", "timeframe", "check", "event", "close", "trend", "key"]
    print_table(
        "",
        columns,
        [
            [
                shown(event["ts"]),
                event["symbol"],
                event["timeframe"],
                event["check_name"],
                event["kind"].replace("_", " "),
                shown(event["bar"]["close"]) if "close" in event["bar"] else "–",
                event["bar"].get("trend", "–"),
                event["key"],
            ]
            for event in found
        ],
    )


def deliveries(
    symbol: OfSymbol = None,
    check: OfCheck = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only this state: pending, inflight, sent, dead or suppressed.")
    ] = None,
    since: Since = None,
    limit: Limit = 50,
    config: ConfigPath = CONFIG,
    as_json: AsJson = False,
) -> None:
    """List what was told, what was held and why, newest first."""
    from contextlib import closing

    from monitor.config.snapshot import load_snapshot
    from monitor.stores.history import History
    from monitor.stores.outbox import DeliveryState

    _known(state, [one.value for one in DeliveryState], "state")
    with closing(open_store(load_snapshot(config), "state")) as opened:
        found = History(opened).deliveries(
            since=_utc(since), limit=limit, symbol=symbol, check_name=check, channel=channel, state=state
        )
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("nothing found", err=True)
    columns = ["bar", "symbol", "timeframe", "check", "event", "channel", "state", "why", "message"]
    print_table(
        "",
        columns,
        [
            [
                shown(told["ts"]),
                told["symbol"],
                told["timeframe"],
                told["check_name"],
                told["kind"].replace("_", " "),
                told["channel"],
                told["state"],
                _why(told),
                told["batch_id"] or "",
            ]
            for told in found
        ],
    )


def _why(told: dict[str, Any]) -> str:
    """Where a delivery stands, in words."""
    if told["state"] == "pending" and not told["attempts"]:
        return "not sent yet"
    if told["state"] == "pending":
        return f"attempt {told['attempts']} failed: {told['detail']}; next at {instant(told['not_before'])}"
    return "being sent" if told["state"] == "inflight" else str(told["detail"])


def open_store(snapshot: "Snapshot", kind: str) -> "Database":
    """The bars or the state of a configuration's store, for reading."""
    from monitor.config.settings import state_directory
    from monitor.stores.database import StateDirectory

    return StateDirectory(state_directory(snapshot.settings, snapshot.folder)).open(kind)


def _watched(snapshot: "Snapshot", timeframe: str, symbol: str) -> "Watched":
    for watched in snapshot.watched:
        if watched.timeframe.name == timeframe and symbol in watched.markets:
            return watched
    pairs = sorted({f"{s} {w.timeframe}" for w in snapshot.watched for s in w.markets})
    _known(f"{symbol} {timeframe}", pairs, "symbol and timeframe")
    raise AssertionError


def _known(name: str | None, names: Any, what: str) -> None:
    if name is not None and name not in names:
        from difflib import get_close_matches

        near = get_close_matches(name, list(names), 1, 0.4)
        raise InputError(
            f"unknown {what} {name!r}", f"did you mean {near[0]!r}?" if near else f"there: {', '.join(sorted(names))}"
        )


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


COMMANDS = {"check": check, "explain": explain, "events": events, "deliveries": deliveries}
