"""Assembly: the parts of Barwatch, built from a snapshot of the configuration, and what is done with them once."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import structlog

from monitor import channels, providers
from monitor.building import Asked
from monitor.calendars import Observed
from monitor.config.settings import state_directory
from monitor.config.snapshot import Snapshot
from monitor.core.events import digest
from monitor.dispatcher import HORIZON, Dispatcher
from monitor.errors import StoreError
from monitor.holes import Holes
from monitor.look import look_at
from monitor.pipeline import Cycle, Pipeline, Stores
from monitor.polling import only_closed
from monitor.ports import Provider
from monitor.providers import ReplaySettings
from monitor.providers.replay import ReplayProvider
from monitor.sessions import Sessions
from monitor.sources import Sources, Stored, smaller_watched
from monitor.stores.bars import BarStore
from monitor.stores.breakers import Breakers
from monitor.stores.database import StateDirectory
from monitor.stores.outbox import Outbox
from monitor.stores.quality import Quality
from monitor.stores.state import StateStore

FIRST_SESSION = date(1990, 1, 1)
CALENDAR_AHEAD = timedelta(days=365)
CALENDAR_FOR = timedelta(days=7)


log = structlog.get_logger()


def clock() -> datetime:
    """The time now, aware, UTC."""
    return datetime.now(UTC)


class Calendars:
    """The sessions of each market, built when they are first asked for and again after a week.

    `observed` has those that providers told, for when the calendar of a market ends.
    """

    def __init__(self, observed: Callable[[str], Observed] = lambda _: {}) -> None:
        self._observed = observed
        self._built: dict[str, tuple[datetime, Sessions]] = {}

    def __call__(self, market: str) -> Sessions:
        now = clock()
        built = self._built.get(market)
        if built is None or now - built[0] >= CALENDAR_FOR:
            built = now, Sessions(market, FIRST_SESSION, (now + CALENDAR_AHEAD).date(), self._observed(market))
            self._built[market] = built
            if warning := built[1].warning(now):
                log.warning("calendar.ends", market=market, warning=warning)
        return built[1]


sessions = Calendars()


@dataclass(frozen=True)
class Parts:
    """What a process that works on a store is made of."""

    snapshot: Snapshot
    sessions: Calendars
    sources: Sources
    pipeline: Pipeline
    state: StateStore
    outbox: Outbox
    dispatcher: Dispatcher


@contextlib.contextmanager
def assembled(
    snapshot: Snapshot,
    asked: Sequence[Provider] = (),
    clock: Callable[[], datetime] = clock,
    console: TextIO | None = None,
) -> Iterator[Parts]:
    """The parts, with the store held for as long as they are in use.

    The providers are those `asked`, or as configured. The dispatcher stamps what it does with `clock`; console channels
    write to `console`, or to standard output.

    Raises: StoreInUse, StoreError, ConfigError.
    """
    directory = StateDirectory(state_directory(snapshot.settings, snapshot.folder)).hold()
    try:
        asked = asked or _providers(snapshot, directory.path)
        with contextlib.closing(directory.open("bars")) as bars, contextlib.closing(directory.open("state")) as state:
            stores = Stores(BarStore(bars), Quality(bars), StateStore(state))
            senders = {
                name: channels.build(name, chosen, console or sys.stdout)
                for name, chosen in snapshot.settings.channels.items()
            }
            outbox = Outbox(state)
            now = clock()
            outbox.give_up(senders.keys(), now - HORIZON, now)
            stores.state.keep(
                digest(vars(snapshot.settings.method.method())),
                (pair for name in snapshot.watchlists for pair in snapshot.pairs(name)),
            )
            sessions = Calendars(stores.quality.observed_hours)
            watched = {one.timeframe: one.markets.keys() for one in snapshot.watched}
            stored = Stored(stores.bars, Breakers(state), stores.state.cursors, smaller_watched(asked[0], watched))
            sources = Sources(asked, sessions, stored)
            patience, skips = snapshot.settings.hole_patience, snapshot.settings.on_hole == "skip"
            holes = Holes(stores.bars, stores.quality, sessions, patience, skips=skips)
            pipeline = Pipeline(sources, stores, sessions, holes)
            yield Parts(snapshot, sessions, sources, pipeline, stores.state, outbox, Dispatcher(outbox, senders, clock))
    finally:
        for one in asked:
            one.close()
        directory.release()


def once(parts: Parts, now: datetime) -> list[Cycle]:
    """One cycle of all that is due, and the outbox drained."""
    cycles = []
    for watched in parts.snapshot.watched:
        cycle = Cycle(watched.timeframe.name)
        for symbols in batches(sorted(watched.markets), parts.sources.batch):
            cycle.add(parts.pipeline.run_cycle(now, watched, symbols))
        cycles.append(cycle)

    async def drain() -> None:
        await parts.dispatcher.drain()
        await parts.dispatcher.aclose()

    asyncio.run(drain())
    return cycles


def look(
    snapshot: Snapshot, watchlist: str | None, symbol: str | None, now: datetime
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Each check of a watchlist and symbol (None: all) at its newest closed bar; nothing is kept or sent."""
    names = [watchlist] if watchlist else list(snapshot.watchlists)
    pairs = {pair for name in names for pair in snapshot.pairs(name) if symbol in (None, pair[2])}
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    asked = _providers(snapshot, state_directory(snapshot.settings, snapshot.folder))
    try:
        sources = Sources(asked, sessions)
        _heed_breakers(sources, StateDirectory(state_directory(snapshot.settings, snapshot.folder)))
        for watched in snapshot.watched:
            symbols = {symbol for timeframe, _, symbol in pairs if timeframe == watched.timeframe.name}
            found, failures = look_at(sources, sessions, now, watched.only(symbols))
            rows += [row for row in found if (row["timeframe"], row["digest"], row["symbol"]) in pairs]
            missing |= {f"{name} {watched.timeframe}": why for name, why in failures.items()}
    finally:
        for one in asked:
            one.close()
    return rows, missing


def _heed_breakers(sources: Sources, directory: StateDirectory) -> None:
    """Leave alone whom the daemon leaves alone, as its store says, if there is one."""
    with contextlib.suppress(StoreError), contextlib.closing(directory.open("state")) as state:
        for name, breaker in sources.breakers.items():
            breaker.record = Breakers(state).of(name)


def batches(symbols: Sequence[str], size: int) -> list[Sequence[str]]:
    """Symbols, so many at a time."""
    return [symbols[first : first + size] for first in range(0, len(symbols), size)]


def _providers(snapshot: Snapshot, state: Path) -> Sequence[Provider]:
    """The provider and the fallback, as configured."""
    settings = snapshot.settings
    if isinstance(settings.provider, ReplaySettings):
        return [_replayed(snapshot, providers.build(settings.provider, snapshot.folder, state))]
    chosen = [settings.provider] if settings.fallback is None else [settings.provider, settings.fallback]
    return [providers.build(one, snapshot.folder, state) for one in chosen]


def _replayed(snapshot: Snapshot, files: Provider) -> ReplayProvider:
    now = clock()
    sources = Sources([files], sessions)
    histories = {}
    vouched: set[str] = set()
    for watched in snapshot.watched:
        fetched = sources.fetch(
            Asked(watched.timeframe, dict.fromkeys(watched.markets), watched.markets, watched.guessed, now), {}
        )
        histories[watched.timeframe.name] = only_closed(fetched, watched, sources, sessions, now)
        vouched |= set(fetched.vouched)
    return ReplayProvider(histories, vouched)
