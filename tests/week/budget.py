"""How often a provider is asked for five hundred symbols, over a day of New York replayed from a first start on."""

import json
import os
from datetime import timedelta
from pathlib import Path

import polars as pl

from monitor.core.bars import BAR_SCHEMA
from monitor.providers.yahoo import YahooProvider
from monitor.telemetry import set_up_logging
from tests.flaky import Flaky
from tests.week import market
from tests.week.replay import AT_ONCE, Clock, replay
from tests.yahoo.market import YahooMarket
from tests.yahoo.server import YahooEmulator

SYMBOLS = tuple(f"S{number:03}" for number in range(500))
BEGIN, END = market.at(28), market.at(29)
BEFORE = market.at(26) - timedelta(days=2)

CONFIG = 'state_directory = "state"\n'
WATCHLIST = """\
market = "XNYS"
symbols = {symbols}
timeframes = {timeframes}
channels = []

[[checks]]
name = "never"
when = "close < 0"
"""


def counted(folder: Path, timeframes: tuple[str, ...]) -> float:
    """Requests a second of a provider that has those timeframes; each symbol of each question is one."""
    histories = {timeframe: _bars(timeframe) for timeframe in timeframes}
    named = {
        timeframe: pl.concat(bars.select(pl.lit(symbol).alias("symbol"), pl.all()) for symbol in SYMBOLS)
        for timeframe, bars in histories.items()
    }
    provider = Flaky("counted", {timeframe: bars.cast(dict(BAR_SCHEMA)) for timeframe, bars in named.items()})
    _prepare(folder, timeframes)
    replay(folder, END, [provider])
    return sum(len(since) for _, since in provider.asked) / (END - BEGIN).total_seconds()


def emulated(folder: Path, timeframes: tuple[str, ...]) -> float:
    """Requests a second that reach Yahoo, the cookie's and all that are repeated among them."""
    bars = {timeframe: _bars(timeframe).drop("closed_at") for timeframe in timeframes}
    yahoo_market = YahooMarket(Clock(folder))
    for symbol in SYMBOLS:
        yahoo_market.add(symbol, bars=bars)
    _prepare(folder, timeframes)
    with YahooEmulator(yahoo_market) as yahoo:
        os.environ |= yahoo.environment
        replay(folder, END, [YahooProvider(folder / "yahoo", AT_ONCE)])
        return len(yahoo.requests) / (END - BEGIN).total_seconds()


def _prepare(folder: Path, timeframes: tuple[str, ...]) -> None:
    (folder / "watchlists").mkdir()
    (folder / "config.toml").write_text(CONFIG)
    text = WATCHLIST.format(symbols=json.dumps(SYMBOLS), timeframes=json.dumps(timeframes))
    (folder / "watchlists" / "many.toml").write_text(text)
    Clock(folder).set(BEGIN)
    set_up_logging("error")


def _bars(timeframe: str) -> pl.DataFrame:
    """The bars of one share of the week, for all of them."""
    gama = next(share for share in market.shares() if share.symbol == "GAMA")
    bars = gama.finest if timeframe == "15m" else market.together(gama.finest, "XNYS", timeframe)
    return pl.DataFrame([bar for bar in bars if bar.ts >= BEFORE], list(market.Bar._fields), orient="row")
