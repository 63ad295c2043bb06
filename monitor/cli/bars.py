"""The command bars: what is stored of one series, from whom, what it lacks and what was changed."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.inspect import open_store
from monitor.cli.output import CONFIG, TIMES, AsJson, ConfigPath, print_json, print_pairs, print_table, shown
from monitor.errors import InputError

if TYPE_CHECKING:
    from monitor.config.snapshot import Snapshot
    from monitor.core.timeframe import Timeframe
    from monitor.diagnosis import Known, Silence
    from monitor.ports import Provider
    from monitor.providers import ProviderSettings

_PRICES = ("open", "high", "low", "close", "volume")


def bars(
    symbol: Annotated[str, typer.Argument(help="A watched symbol.")],
    timeframe: Annotated[str, typer.Argument(help="A watched timeframe, such as 1d.")],
    limit: Annotated[int, typer.Option(min=1, help="How many bars, gaps and revisions to show, newest first.")] = 5,
    at: Annotated[
        datetime | None, typer.Option(formats=TIMES, help="Act as if it were this time, UTC; for the replay provider.")
    ] = None,
    believe: Annotated[
        bool, typer.Option("--believe", help="Say that what is in quarantine is true; while no Barwatch runs.")
    ] = False,
    config: ConfigPath = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Say where a series stands or why it is silent, what is stored of it, from whom, and what it lacks."""
    from monitor import assembly, diagnosis
    from monitor.config.snapshot import load_snapshot
    from monitor.core.timeframe import parse_timeframe
    from monitor.telemetry import set_up_logging

    set_up_logging("error")
    snapshot, length = load_snapshot(config), parse_timeframe(timeframe)
    now = at.replace(tzinfo=UTC) if at else assembly.clock()
    if believe:
        _believe(snapshot, symbol, length)
    with contextlib.ExitStack() as stack:
        providers = [build(snapshot, settings, stack) for settings in provider_settings(snapshot)]
        known = stack.enter_context(opened(snapshot, providers))
        silence = diagnosis.why_silent(known, snapshot.watched, symbol, length, now)
        if silence.reason is diagnosis.Silent.NOT_WATCHED:
            raise InputError(silence.line)
        found = _found(known, snapshot, silence, length, limit)
    if as_json:
        print_json(found)
    else:
        _print(found, length)


def _believe(snapshot: "Snapshot", symbol: str, timeframe: "Timeframe") -> None:
    """Let what is in quarantine be taken up by the next cycle.

    Raises: StoreInUse, InputError where there is nothing in quarantine.
    """
    from monitor.config.settings import state_directory
    from monitor.stores.database import StateDirectory
    from monitor.stores.quality import Quality

    directory = StateDirectory(state_directory(snapshot.settings, snapshot.folder)).hold()
    try:
        with contextlib.closing(directory.open("bars")) as bars:
            believed = Quality(bars).believe(timeframe.name, symbol)
    finally:
        directory.release()
    if believed:
        typer.echo(f"believed: what is in quarantine of {symbol} {timeframe}; the next poll takes it up", err=True)
    else:
        raise InputError(f"nothing of {symbol} {timeframe} is in quarantine", "`barwatch doctor` says what is")


def provider_settings(snapshot: "Snapshot") -> list["ProviderSettings"]:
    """The settings of the provider and, where there is one, of the fallback."""
    settings = snapshot.settings
    return [settings.provider] if settings.fallback is None else [settings.provider, settings.fallback]


def build(snapshot: "Snapshot", settings: "ProviderSettings", stack: contextlib.ExitStack) -> "Provider":
    """A provider that lasts as long as the stack and leaves nothing in the store.

    Raises: ConfigError.
    """
    from monitor import providers

    cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="barwatch-"))
    provider = providers.build(settings, snapshot.folder, Path(cache))
    stack.callback(provider.close)
    return provider


@contextlib.contextmanager
def opened(snapshot: "Snapshot", providers: Sequence["Provider"]) -> Iterator["Known"]:
    """What a store knows, opened for reading beside whoever writes it.

    Raises: StoreError.
    """
    from monitor.assembly import Calendars
    from monitor.diagnosis import Known
    from monitor.sources import Sources, Stored
    from monitor.stores.bars import BarStore
    from monitor.stores.breakers import Breakers
    from monitor.stores.quality import Quality
    from monitor.stores.state import StateStore

    with (
        contextlib.closing(open_store(snapshot, "bars")) as bars,
        contextlib.closing(open_store(snapshot, "state")) as state,
    ):
        store, quality = BarStore(bars), Quality(bars)
        calendars = Calendars(quality.observed_hours)
        sources = Sources(providers, calendars, Stored(store, Breakers(state), StateStore(state).cursors, {}))
        patience = snapshot.settings.hole_patience if snapshot.settings.on_hole == "skip" else None
        yield Known(store, quality, sources, calendars, patience)


def _found(
    known: "Known", snapshot: "Snapshot", silence: "Silence", timeframe: "Timeframe", limit: int
) -> dict[str, Any]:
    from monitor.diagnosis import find_gaps

    symbol = silence.symbol
    [watched] = [one for one in snapshot.watched if one.timeframe == timeframe]
    instruments = known.quality.instruments()
    market = watched.knowing(instruments).markets[symbol]
    told = instruments.get(symbol)
    provider, since = known.quality.origin_since(timeframe.name, symbol) or (None, None)
    history = known.bars.newest(timeframe.name, [symbol], None)
    holes = known.quality.holes(timeframe.name, [symbol])
    gaps = find_gaps(history, holes, timeframe, known.sessions(market))
    quarantine = known.quality.quarantines(timeframe.name, [symbol]).get(symbol)
    return {
        "line": silence.line,
        **{name: value for name, value in asdict(silence).items() if name != "text"},
        "provider": provider,
        "provider_since": since,
        "market": market,
        "market_guessed": symbol in watched.guessed and not (told and told.market),
        "currency": told.currency if told else "",
        "kind": told.kind if told else "",
        "bars": history.height,
        "first": history["ts"].min(),
        "last": history["ts"].max(),
        "newest": history.drop("symbol").tail(limit).reverse().to_dicts(),
        "expected": gaps.expected,
        "came": gaps.came,
        "beside": gaps.beside,
        "gaps": [asdict(gap) for gap in gaps.ranges[:limit]] if gaps.on_the_grid else [],
        "revisions": known.quality.revisions(timeframe.name, symbol, limit),
        "quarantine": asdict(quarantine) if quarantine else None,
    }


def _print(found: dict[str, Any], timeframe: "Timeframe") -> None:
    from monitor.diagnosis import label_of, moment, since_when

    typer.echo(found["line"])
    if not found["bars"]:
        return

    def label(ts: datetime) -> str:
        return label_of(ts, timeframe)

    pairs = {
        "provider": f"{found['provider']}, {since_when(found['provider_since'])}",
        "market": _market(found),
        "bars": f"{found['bars']}, from {label(found['first'])} to {label(found['last'])}",
        "gaps": _lacking(found),
        "revisions": "see below" if found["revisions"] else "none",
    }
    if doubt := found["quarantine"]:
        pairs["quarantine"] = f"bars from {label(doubt['ts'])} on, {since_when(doubt['found_at'])}: {doubt['why']}"
    typer.echo("")
    print_pairs(pairs)
    typer.echo("")
    _print_list(
        "newest bars",
        ["bar", "closed", *_PRICES],
        [[label(b["ts"]), moment(b["closed_at"]), *(shown(b[name]) for name in _PRICES)] for b in found["newest"]],
    )
    _print_list(
        "gaps",
        ["first", "last", "bars", "state"],
        [[label(gap["first"]), label(gap["last"]), gap["bars"], gap["state"]] for gap in found["gaps"]],
    )
    _print_list(
        "revisions",
        ["seen", "bar", "kind", "change", "why"],
        [[moment(r["seen_at"]), label(r["ts"]), r["kind"], _change(r), r["why"]] for r in found["revisions"]],
    )


def _print_list(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """A table, where it has rows; the times in it are UTC."""
    if rows:
        print_table(title, columns, [[str(cell).removesuffix(" UTC") for cell in row] for row in rows])


def _market(found: Mapping[str, Any]) -> str:
    guessed = " (guessed)" if found["market_guessed"] else ""
    currency = f"in {found['currency']}" if found["currency"] else ""
    return ", ".join(filter(None, [f"{found['market']}{guessed}", found["kind"], currency]))


def _lacking(found: Mapping[str, Any]) -> str:
    """What the calendar expects and the store does not have, in words."""
    lacking, market = found["expected"] - found["came"], found["market"]
    words = f"{lacking} of {found['expected']} bars that {market} expects are not stored" if lacking else "none"
    if found["beside"]:
        words += f"; {found['beside']} stored bars are at times that {market} does not have"
    return words


def _change(made: Mapping[str, Any]) -> str:
    """What changed of a bar, from what to what."""
    before, after = made["before"] or {}, made["after"] or {}
    names = [name for name in _PRICES if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {_value(before, name)} → {_value(after, name)}" for name in names)


def _value(values: Mapping[str, Any], name: str) -> str:
    return shown(values[name]) if name in values else "–"


COMMANDS = {"bars": bars}
