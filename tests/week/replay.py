"""The daemon's day at speed: each cycle at the instant at which the daemon would run it, by the daemon's own rules.

    python -m tests.week.replay FOLDER --until 2025-10-28T15:00+00:00

It goes on from the store and from the instant that stand in the folder, as a daemon does that is started then: all that
is watched is due at once. The instant is in the file `now`, which the emulator tells the time by.
"""

import argparse
import asyncio
import heapq
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from monitor.assembly import Parts, assembled, batches
from monitor.config.snapshot import Watched, load_snapshot
from monitor.daemon import Batch, wait_before_retry
from monitor.ports import Provider
from monitor.providers.yahoo import YahooProvider
from monitor.scheduler import BarCloseTrigger
from monitor.telemetry import set_up_logging

AT_ONCE = 1000.0


class Clock:
    """Market time, in a file that others may read at any moment."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "now"

    def __call__(self) -> datetime:
        return datetime.fromisoformat(self._path.read_text())

    def set(self, now: datetime) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(now.isoformat())
        new.replace(self._path)


@dataclass(order=True, frozen=True)
class Due:
    """What is to be put into the queue at an instant: a market whose bar closes, or a batch to be polled again."""

    at: datetime
    number: int
    name: str = field(compare=False)
    watched: Watched = field(compare=False)
    market: str = field(compare=False)
    again: tuple[str, ...] = field(compare=False, default=())
    attempt: int = field(compare=False, default=0)


class Replay:
    """Cycles from event to event; a cycle takes no time."""

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self._parts, self._clock = parts, clock
        self._watched = {watched.timeframe: watched for watched in parts.snapshot.watched}
        self._triggers: dict[str, BarCloseTrigger] = {}
        self._later: list[Due] = []
        self._retries: dict[str, Due] = {}
        self._queue: list[Batch] = []
        self._queued: dict[str, dict[str, int]] = {}
        self._numbers = itertools.count()

    async def run(self, until: datetime) -> None:
        now = self._clock()
        for watched in self._parts.snapshot.watched:
            self._schedule(self._parts.pipeline.known_markets(watched), now)
        while True:
            while self._later and self._later[0].at <= now:
                self._come(heapq.heappop(self._later), now)
            if self._queue:
                batch = heapq.heappop(self._queue)
                await self._cycle(batch, self._queued.pop(batch.name), now)
            else:
                now = self._later[0].at
            if now >= until:
                return

    def _schedule(self, watched: Watched, now: datetime) -> None:
        self._watched[watched.timeframe] = watched
        for market in sorted(set(watched.markets.values())):
            name = f"{watched.timeframe} {market}"
            if name not in self._triggers:
                wait = watched.grace + self._parts.sources.lag(market, watched.timeframe)
                self._triggers[name] = BarCloseTrigger(market, self._parts.sessions, watched.timeframe, wait)
                heapq.heappush(self._later, Due(now, next(self._numbers), name, watched, market))

    def _come(self, due: Due, now: datetime) -> None:
        if due.again:
            if self._retries.get(due.name) is due:
                self._enqueue(due.name, due.watched, due.again, due.attempt)
            return
        watched = self._watched[due.watched.timeframe]
        symbols = sorted(symbol for symbol, of in watched.markets.items() if of == due.market)
        for place, batch in enumerate(batches(symbols, self._parts.sources.batch)):
            self._enqueue(f"{due.name} {place}", watched, batch)
        following = self._triggers[due.name].get_next_fire_time(due.at, now)
        heapq.heappush(self._later, Due(following, next(self._numbers), due.name, watched, due.market))

    def _enqueue(self, name: str, watched: Watched, symbols: Sequence[str], attempt: int = 0) -> None:
        if name not in self._queued:
            heapq.heappush(self._queue, Batch(watched.timeframe.length, next(self._numbers), name, watched))
        self._queued[name] = {**self._queued.get(name, {}), **dict.fromkeys(symbols, attempt)}

    async def _cycle(self, batch: Batch, symbols: Mapping[str, int], now: datetime) -> None:
        self._clock.set(now)
        watched = self._watched[batch.watched.timeframe]
        cycle = self._parts.pipeline.run_cycle(now, watched, symbols)
        if any(watched.markets[symbol] != market for symbol, market in cycle.markets.items()):
            self._schedule(self._parts.pipeline.known_markets(watched), now)
        await self._parts.dispatcher.drain()
        if cycle.missing:
            attempt = min(symbols.values())
            again = Due(
                now + wait_before_retry(attempt),
                next(self._numbers),
                batch.name,
                watched,
                "",
                tuple(sorted(cycle.missing)),
                attempt + 1,
            )
            self._retries[batch.name] = again
            heapq.heappush(self._later, again)


def replay(folder: Path, until: datetime, asked: Sequence[Provider]) -> None:
    """Replay what is in a folder up to an instant, with these providers."""
    clock = Clock(folder)

    async def running() -> None:
        with assembled(load_snapshot(folder / "config.toml"), asked, clock) as parts:
            await Replay(parts, clock).run(until)
            clock.set(until)
            await parts.dispatcher.aclose()

    asyncio.run(running())


def main() -> None:
    """Replay a folder through the real yfinance."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--until", type=datetime.fromisoformat, required=True)
    asked = parser.parse_args()
    set_up_logging("warning")
    os.environ |= json.loads((asked.folder / "environment").read_text())
    replay(asked.folder, asked.until, [YahooProvider(asked.folder / "yahoo", AT_ONCE)])


if __name__ == "__main__":
    main()
