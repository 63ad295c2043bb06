"""A small world for tests of the whole: a configuration, a folder of bars, and the parts that work on them."""

import contextlib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor import assembly
from monitor.config.snapshot import load_snapshot

START = datetime(2026, 1, 1, tzinfo=UTC)

WATCHLIST = """
title = "Test"
market = "24/7"
symbols = ["BTC-USD"]
timeframes = ["1d"]
channels = ["file"]

[[checks]]
name = "high"
when = "close > 100"
"""

CONFIG = """
state_directory = "state"

[grace]
intraday = 0
daily = 0

[channels.file]
kind = "file"
path = "messages.jsonl"
"""


class World:
    """A folder with config.toml, one watchlist and bars; its days count from 0 at 1 January 2026."""

    def __init__(self, folder: Path, watchlist: str = WATCHLIST, config: str = CONFIG) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.config.write_text(config)
        (folder / "watchlists").mkdir()
        (folder / "bars" / "1d").mkdir(parents=True)
        self.write_watchlist(watchlist)

    def write_watchlist(self, text: str) -> None:
        (self.folder / "watchlists" / "test.toml").write_text(text)

    def write_bars(self, closes: list[float], symbol: str = "BTC-USD", lacking: Collection[int] = ()) -> None:
        """One daily bar for each close, from day 0 on, but for some days."""
        days = [(START + timedelta(days=i), close) for i, close in enumerate(closes) if i not in lacking]
        rows = [f"{day:%Y-%m-%d},{close},{close},{close},{close},1" for day, close in days]
        text = "\n".join(["Date,Open,High,Low,Close,Volume", *rows]) + "\n"
        (self.folder / "bars" / "1d" / f"{symbol}.csv").write_text(text)

    @contextlib.contextmanager
    def parts(self, now: datetime | None = None) -> Iterator[assembly.Parts]:
        clock = (lambda: now) if now else assembly.clock
        with assembly.assembled(load_snapshot(self.config), clock=clock) as parts:
            yield parts


def weekend(days: int) -> set[int]:
    """The Saturdays and Sundays among the days of a world."""
    return {i for i in range(days) if (START.weekday() + i) % 7 > 4}


def day(number: int, hour: int = 0) -> datetime:
    """An instant of a day of the world."""
    return START + timedelta(days=number, hours=hour)
