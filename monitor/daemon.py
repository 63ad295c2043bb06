"""The daemon: cycles when bars close, deliveries when they are due, and a clean stop."""

import asyncio
import itertools
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, timedelta

import structlog

from monitor.assembly import Parts, batches, clock
from monitor.config.snapshot import Watched
from monitor.errors import BarwatchError

RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(minutes=30)
DRAIN = timedelta(seconds=20)

log = structlog.get_logger()


@dataclass(order=True, frozen=True)
class Batch:
    """Symbols of one timeframe to be polled together; those of smaller bars go first, as larger ones are built of them.

    `name` is its own for as long as the daemon runs.
    """

    length: timedelta
    number: int
    name: str = field(compare=False)
    watched: Watched = field(compare=False)


class Daemon:
    """Cycles when bars close, deliveries when they are due, until a signal says stop.

    A bar that should be there and is not is looked for again after `retry`, then after ever longer times.
    """

    def __init__(self, parts: Parts, retry: timedelta = RETRY) -> None:
        from apscheduler.schedulers.asyncio import AsyncIOScheduler  # only the daemon schedules

        self._parts = parts
        self._retry = retry
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._watched = {watched.timeframe: watched for watched in parts.snapshot.watched}
        self._due: asyncio.PriorityQueue[Batch] = asyncio.PriorityQueue()
        self._queued: dict[str, dict[str, int]] = {}
        self._numbers = itertools.count()
        self._cycles = ThreadPoolExecutor(1, "cycle")

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
            await self._schedule(self._parts.pipeline.known_markets(watched))
        log.info("daemon.started", timeframes=[str(watched.timeframe) for watched in self._parts.snapshot.watched])
        cycling = asyncio.create_task(self._work(stopping))
        cycling.add_done_callback(lambda _: stopping.set())
        await stopping.wait()
        await self._stop(dispatching, cycling)

    async def _schedule(self, watched: Watched) -> None:
        """A job for each market of a timeframe that has none yet; the first one is due now."""
        from monitor.scheduler import BarCloseTrigger  # loads APScheduler

        self._watched[watched.timeframe] = watched
        for market in sorted(set(watched.markets.values())):
            name = f"{watched.timeframe} {market}"
            if self._scheduler.get_job(name):
                continue
            wait = watched.grace + self._parts.sources.lag(market, watched.timeframe)
            await asyncio.to_thread(self._parts.sessions, market)  # built here once, as it takes a second
            self._scheduler.add_job(
                self._closed,
                BarCloseTrigger(market, self._parts.sessions, watched.timeframe, wait),
                args=(watched, market),
                id=name,
                next_run_time=clock(),
                misfire_grace_time=None,
                coalesce=True,
                max_instances=1,
            )

    async def _closed(self, scheduled: Watched, market: str) -> None:
        """A job: a bar of a market has closed, its symbols are due."""
        watched = self._watched[scheduled.timeframe]
        symbols = sorted(symbol for symbol, of in watched.markets.items() if of == market)
        for place, batch in enumerate(batches(symbols, self._parts.sources.batch)):
            self._enqueue(f"{watched.timeframe} {market} {place}", watched, batch)

    def _enqueue(self, name: str, watched: Watched, symbols: Sequence[str], attempt: int = 0) -> None:
        """Put a batch into the queue; one that is still waiting there is joined by these symbols, not repeated."""
        waiting = self._queued.get(name)
        if waiting is not None:
            self._queued[name] = {**waiting, **dict.fromkeys(symbols, attempt)}
            return
        self._queued[name] = dict.fromkeys(symbols, attempt)
        self._due.put_nowait(Batch(watched.timeframe.length, next(self._numbers), name, watched))

    async def _work(self, stopping: asyncio.Event) -> None:
        """Run the batches that are due, one at a time, in a thread."""
        stopped = asyncio.create_task(stopping.wait())
        while not stopping.is_set():
            due = asyncio.create_task(self._due.get())
            await asyncio.wait({due, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not due.done():
                due.cancel()
                return
            batch = due.result()
            symbols = self._queued.pop(batch.name)
            await self._cycle(batch, sorted(symbols), min(symbols.values()))

    async def _cycle(self, batch: Batch, symbols: Sequence[str], attempt: int) -> None:
        """One cycle and its log line; what is missing afterwards is looked for again a little later.

        `attempt` counts the polls since the bar was due.
        """
        missing = symbols
        watched = self._watched[batch.watched.timeframe]
        try:
            loop = asyncio.get_running_loop()
            cycle = await loop.run_in_executor(
                self._cycles, lambda: self._parts.pipeline.run_cycle(clock(), watched, symbols)
            )
            missing = sorted(cycle.missing)
            quiet = attempt and not cycle.bars
            loud = not attempt and len(cycle.missing) == cycle.asked
            (log.debug if quiet else log.warning if loud else log.info)("cycle.ended", **cycle.receipt())
            if any(watched.markets[symbol] != market for symbol, market in cycle.markets.items()):
                await self._schedule(self._parts.pipeline.known_markets(watched))
        except BarwatchError as error:
            log.error("cycle.failed", batch=batch.name, error=error.message, hint=error.hint)
        except Exception:
            log.exception("cycle.failed", batch=batch.name)
        self._parts.dispatcher.wake()
        if missing:
            self._look_again(batch, missing, attempt)

    def _look_again(self, batch: Batch, missing: Sequence[str], attempt: int) -> None:
        async def again() -> None:
            self._enqueue(batch.name, batch.watched, missing, attempt + 1)

        self._scheduler.add_job(
            again,
            next_run_time=clock() + wait_before_retry(attempt, self._retry),
            id=f"{batch.name} late",
            replace_existing=True,
            misfire_grace_time=None,
        )

    async def _stop(self, *loops: asyncio.Task[None]) -> None:
        """No new cycles, no new claims; what is under way may end within the drain time."""
        log.info("daemon.stopping")
        self._scheduler.pause()
        self._parts.sources.close()
        _, late = await asyncio.wait(loops, timeout=DRAIN.total_seconds())
        for task in late:
            task.cancel()
        self._cycles.shutdown(wait=False, cancel_futures=True)
        self._scheduler.shutdown(wait=False)
        await self._parts.dispatcher.aclose()
        for task in loops:
            if task.done() and not task.cancelled():
                task.result()
        log.info("daemon.stopped", cut_short=len(late))


def wait_before_retry(attempt: int, first: timedelta = RETRY) -> timedelta:
    """How long a batch with missing bars is left alone after an attempt: twice as long each time, to a limit."""
    return min(first * (1 << min(attempt, 20)), LONGEST_RETRY)
