"""The week as the emulator shows it: the truth, spoilt as the script says; and the folder that Barwatch runs in."""

import json
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import polars as pl

from tests.week import market
from tests.week.market import Bar, How, Series, Share, Slip
from tests.week.replay import Clock
from tests.yahoo.faults import Fault, blank, doubled, missing, revised, scaled, snapshot
from tests.yahoo.market import Dividend, StockSplit, YahooMarket
from tests.yahoo.server import YahooEmulator

EDGE = timedelta(seconds=30)

CONFIG = """\
state_directory = "state"

[provider]
kind = "yahoo"

[channels.file]
kind = "file"
path = "messages.jsonl"
"""

WATCHLIST = """\
symbols = ["{symbol}"]
timeframes = {timeframes}
channels = ["file"]

[[checks]]
name = "trend"
rule = "trend"
early_warning = true

[[checks]]
name = "level"
when = "close > {level}"
trigger = "change"

[[checks]]
name = "breakout"
when = "close > prev(highest(high, 3), 1)"
"""


def prepare(folder: Path, yahoo: YahooEmulator, shares: tuple[Share, ...]) -> None:
    """A folder that is about to watch these shares for the week, and an emulator that tells the time by its clock."""
    (folder / "watchlists").mkdir()
    (folder / "config.toml").write_text(CONFIG)
    for share in shares:
        timeframes = json.dumps([series.timeframe for series in share.series])
        text = WATCHLIST.format(symbol=share.symbol, timeframes=timeframes, level=share.level)
        (folder / "watchlists" / f"{share.symbol.partition('.')[0]}.toml").write_text(text)
    (folder / "environment").write_text(json.dumps(yahoo.environment))
    clock = Clock(folder)
    clock.set(market.START)
    yahoo.market = shown(YahooMarket(clock))


def shown(yahoo: YahooMarket) -> YahooMarket:
    """Yahoo's market, with all that goes wrong in that week."""
    for share in market.shares():
        _list(yahoo, share)
        for series in share.series:
            for slip in series.slips:
                _slip(yahoo, share, series, slip)
    yahoo.fail(Fault.DOWN, start=market.OUTAGE[0], end=market.OUTAGE[1])
    yahoo.fail(Fault.RATE_LIMITED, start=market.BAN[0], end=market.BAN[1])
    for interval in ("15m", "1h"):
        yahoo.edit("", interval, snapshot())
    right = next(bar for bar in _series("9988.HK", "1d").bars if bar.ts == market.at(30))
    yahoo.edit("9988.HK", "1d", revised(right.ts, close=right.low, volume=1.0), end=market.at(31))
    yahoo.edit("9988.HK", "1d", doubled(right.ts, close=right.close, volume=right.volume), end=market.at(31))
    yahoo.edge, yahoo.understates, yahoo.asks_for_crumb = EDGE, True, True
    return yahoo


def _series(symbol: str, timeframe: str) -> Series:
    share = next(share for share in market.shares() if share.symbol == symbol)
    return next(series for series in share.series if series.timeframe == timeframe)


def _list(yahoo: YahooMarket, share: Share) -> None:
    split = StockSplit(market.SPLIT_DAY, Fraction(market.SHARES_FOR_ONE), intraday_waits=True)
    dividend = Dividend(market.EX_DAY, market.DIVIDEND)
    yahoo.add(
        share.symbol,
        bars={series.timeframe: _frame([_traded(share, bar) for bar in series.bars]) for series in share.series},
        market=share.market,
        kind=share.kind,
        currency=share.currency,
        exchange={"XSTO": "STO"}.get(share.market),
        splits=[split] if share.split else [],
        dividends=[dividend] if any(s.how is How.BLANK for one in share.series for s in one.slips) else [],
        delay=share.known_late,
    )


def _traded(share: Share, bar: Bar) -> Bar:
    """In the shares of its day."""
    if not share.split or bar.ts.date() >= market.SPLIT_DAY:
        return bar
    prices = (price * market.SHARES_FOR_ONE for price in bar[2:6])
    return Bar(bar.ts, bar.closed_at, *prices, bar.volume / market.SHARES_FOR_ONE)


def _frame(bars: list[Bar]) -> pl.DataFrame:
    return pl.DataFrame(bars, list(Bar._fields), orient="row").drop("closed_at")


def _slip(yahoo: YahooMarket, share: Share, series: Series, slip: Slip) -> None:
    off = slip.shown(next(bar for bar in series.bars if bar.ts == slip.ts))
    change = {
        How.ABSENT: missing(slip.ts),
        How.BLANK: blank(slip.ts),
        How.OFF: revised(slip.ts, high=off.high, low=off.low, close=off.close),
        How.PENCE: scaled(100, slip.ts),
    }[slip.how]
    yahoo.edit(share.symbol, series.timeframe, change, end=slip.until - EDGE - share.known_late)
