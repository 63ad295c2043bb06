"""The daemon: composition root. It builds the parts from a snapshot, runs the two loops, and stops them cleanly."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, TextIO

import structlog

from monitor import channels
from monitor.config.settings import state_directory
from monitor.config.snapshot import Snapshot, Watched
from monitor.core.events import digest
from monitor.dispatcher import HORIZON, Dispatcher
from monitor.errors import BarwatchError
from monitor.pipeline import Cycle, Pipeline, closed_bars, look_at
from monitor.ports import Provider
from monitor.providers.files import FilesProvider
from monitor.providers.replay import ReplayProvider
from monitor.sessions import Sessions
from monitor.stores.bars import BarStore
from monitor.stores.database import StateDirectory
from monitor.stores.outbox import Outbox
from monitor.stores.state import StateStore

FIRST_SESSION = date(1990, 1, 1)
CALENDAR_AHEAD = timedelta(days=365)
RETRY = timedelta(minutes=1)
DRAIN = timedelta(seconds=20)

log = structlog.get_logger()


def clock() -> datetime:
    """The time now, aware, UTC."""
    return datetime.now(UTC)


@cache
def sessions(market: str) -> Sessions:
    """The calendar of a market, built once."""
    return Sessions(market, FIRST_SESSION, (clock() + CALENDAR_AHEAD).date())


@dataclass(frozen=True)
class Parts:
    """What a process that works on a store is made of."""

    snapshot: Snapshot
    pipeline: Pipeline
    state: StateStore
    outbox: Outbox
    dispatcher: Dispatcher


@contextlib.contextmanager
def assembled(
    snapshot: Snapshot,
    provider: Provider | None = None,
    clock: Callable[[], datetime] = clock,
    console: TextIO | None = None,
) -> Iterator[Parts]:
    """The parts, with the store held for as long as they are in use.

    The dispatcher stamps what it does with `clock`; console channels write to `console`, or to standard output.

    Raises: StoreInUse, StoreError, ConfigError.
    """
    directory = StateDirectory(state_directory(snapshot.settings, snapshot.folder)).hold()
    try:
        with contextlib.closing(directory.open("bars")) as bars, contextlib.closing(directory.open("state")) as state:
            memory = StateStore(state)
            source = provider or _provider(snapshot)
            senders = {
                name: channels.build(name, chosen, console or sys.stdout)
                for name, chosen in snapshot.settings.channels.items()
            }
            outbox = Outbox(state)
            now = clock()
            outbox.give_up(senders.keys(), now - HORIZON, now)
            memory.keep(
                digest(vars(snapshot.settings.method.method())),
                (pair for name in snapshot.watchlists for pair in snapshot.pairs(name)),
            )
            pipeline = Pipeline(source, BarStore(bars), memory, sessions)
            yield Parts(snapshot, pipeline, memory, outbox, Dispatcher(outbox, senders, clock))
    finally:
        directory.release()


def once(parts: Parts, now: datetime) -> list[Cycle]:
    """One cycle of all that is due, and the outbox drained."""
    cycles = [parts.pipeline.run_cycle(now, watched, watched.markets) for watched in parts.snapshot.watched]

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
    provider = _provider(snapshot)
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for watched in snapshot.watched:
        symbols = {symbol for timeframe, _, symbol in pairs if timeframe == watched.timeframe.name}
        found, failures = look_at(provider, sessions, now, watched.only(symbols))
        rows += [row for row in found if (row["timeframe"], row["digest"], row["symbol"]) in pairs]
        missing |= {f"{name} {watched.timeframe}": why for name, why in failures.items()}
    return rows, missing


class Daemon:
    """Cycles when bars close, deliveries when they are due, until a signal says stop.

    A bar that should be there and is not is looked for again every `retry`.
    """

    def __init__(self, parts: Parts, retry: timedelta = RETRY) -> None:
        from apscheduler.schedulers.asyncio import AsyncIOScheduler  # only the daemon schedules

        self._parts = parts
        self._retry = retry
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._cycles: set[asyncio.Task[None]] = set()
        self._one_at_a_time = ThreadPoolExecutor(1, "cycle")

    async def run(self) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP, then finish the cycle and the sends under way."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                loop.add_signal_handler(number, stopping.set)
        dispatching = asyncio.create_task(self._parts.dispatcher.run(stopping))
        dispatching.add_done_callback(lambda _: stopping.set())
        self._scheduler.start()
        for watched in self._parts.snapshot.watched:
            for market in sorted(set(watched.markets.values())):
                await asyncio.to_thread(self._schedule, watched, market)
        log.info("daemon.started", timeframes=[str(watched.timeframe) for watched in self._parts.snapshot.watched])
        await stopping.wait()
        await self._stop(dispatching)

    def _schedule(self, watched: Watched, market: str) -> None:
        from monitor.scheduler import BarCloseTrigger  # loads APScheduler

        symbols = [symbol for symbol, of in watched.markets.items() if of == market]
        name = f"{watched.timeframe} {market}"
        self._scheduler.add_job(
            self._due,
            BarCloseTrigger(sessions(market), watched.timeframe, watched.grace),
            args=(name, watched, symbols),
            id=name,
            next_run_time=clock(),
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )

    async def _due(self, name: str, watched: Watched, symbols: Collection[str], quiet: bool = False) -> None:
        """A job: the cycle runs in a thread, and is waited for when the daemon stops."""
        task = asyncio.create_task(self._cycle(name, watched, symbols, quiet))
        self._cycles.add(task)
        task.add_done_callback(self._cycles.discard)
        await asyncio.shield(task)

    async def _cycle(self, name: str, watched: Watched, symbols: Collection[str], quiet: bool) -> None:
        """One cycle and its log line; what is missing afterwards is looked for again a little later."""
        missing = symbols
        try:
            loop = asyncio.get_running_loop()
            cycle = await loop.run_in_executor(
                self._one_at_a_time, lambda: self._parts.pipeline.run_cycle(clock(), watched, symbols)
            )
            missing = cycle.missing.keys()
            (log.debug if quiet and not cycle.bars else log.info)("cycle.ended", **cycle.receipt())
        except BarwatchError as error:
            log.error("cycle.failed", cycle=name, error=error.message, hint=error.hint)
        except Exception:
            log.exception("cycle.failed", cycle=name)
        self._parts.dispatcher.wake()
        if missing:
            self._scheduler.add_job(
                self._due,
                next_run_time=clock() + self._retry,
                args=(name, watched, tuple(missing), True),
                id=f"{name} late",
                replace_existing=True,
                misfire_grace_time=None,
            )

    async def _stop(self, dispatching: asyncio.Task[None]) -> None:
        """No new cycles, no new claims; what is under way may end within the drain time."""
        log.info("daemon.stopping")
        self._scheduler.pause()
        _, late = await asyncio.wait({dispatching, *self._cycles}, timeout=DRAIN.total_seconds())
        for task in late:
            task.cancel()
        self._one_at_a_time.shutdown(wait=False, cancel_futures=True)
        self._scheduler.shutdown(wait=False)
        await self._parts.dispatcher.aclose()
        if dispatching.done() and not dispatching.cancelled():
            dispatching.result()
        log.info("daemon.stopped", cut_short=len(late))


def _provider(snapshot: Snapshot) -> Provider:
    settings = snapshot.settings.provider
    files = FilesProvider(snapshot.folder / settings.folder, settings.zone)
    if settings.kind == "files":
        return files
    now = clock()
    histories = {}
    for watched in snapshot.watched:
        everything = dict.fromkeys(watched.markets)
        histories[watched.timeframe.name], _ = closed_bars(files, sessions, now, watched, everything)
    return ReplayProvider(histories)
