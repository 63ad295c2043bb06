"""The demo's daemon: replays the sample bars through the real pipeline, store and dispatcher, from where the store is.

It is a process of its own so that the demo can kill it. Its clock is the replay's: each step is a moment at which a
cycle was due. It loads everything, waits for a line of standard input, then writes each step it begins.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from monitor import assembly
from monitor.config.snapshot import load_snapshot
from monitor.core.bars import BAR_SCHEMA
from monitor.core.timeframe import TIMEFRAMES
from monitor.providers.replay import ReplayProvider
from monitor.providers.sample import sample_bars
from monitor.telemetry import set_up_logging

SPLITS = {(2003, 2), (2005, 2), (2005, 3)}


def steps(closes: list[datetime]) -> list[datetime]:
    """The closes at which cycles run: each session in 2000 and around the later splits, else the last of each month."""
    daily = [close for close in closes if close.year == 2000 or (close.year, close.month) in SPLITS]
    monthly = {(close.year, close.month): close for close in closes}
    return sorted({*daily, *monthly.values()})


async def replay(folder: Path) -> None:
    snapshot = load_snapshot(folder / "config.toml")
    [watched] = snapshot.watched
    bars = sample_bars()
    closes = assembly.sessions("XNYS").closed_at(bars["ts"], TIMEFRAMES["1d"])
    bars = bars.with_columns(closed_at=closes).select(*BAR_SCHEMA)
    now = closes[0]
    if not sys.stdin.readline():
        return
    with assembly.assembled(snapshot, [ReplayProvider({"1d": bars}, watched.markets)], lambda: now) as parts:
        done = max(parts.state.cursors("1d", watched.markets).values(), default=datetime.min.replace(tzinfo=UTC))
        for close in steps(closes.unique().sort().to_list()):
            if close < done:
                continue
            now = close + watched.grace
            sys.stdout.write(f"{close:%Y-%m-%d}\n")
            sys.stdout.flush()
            cycle = parts.pipeline.run_cycle(now, watched, watched.markets)
            if cycle.told or close.date() == done.date():
                await parts.dispatcher.drain()
        await parts.dispatcher.aclose()


if __name__ == "__main__":
    set_up_logging("error")
    asyncio.run(replay(Path(sys.argv[1])))
