"""A frame of yfinance as bars.

Of what Yahoo shows not every row is a bar. A *live row* may follow the bars: the last trade at its own time, with one
price and no volume. A *quiet* row repeats the last price of a share that nobody traded. The first row of an intraday
answer lacks a part of its volume. An unknown volume is written as 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import polars as pl

from monitor.core.adjust import Split
from monitor.core.bars import INSTANT, PRICES, RAW_SCHEMA
from monitor.ports import QUIET, Instrument

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from monitor.core.timeframe import Timeframe

# At some exchanges open and close come of auctions, which high and low leave out.
_AUCTION = 0.1
_BREAK = timedelta(minutes=30)
_SHARES = frozenset({"equity", "etf"})


@dataclass(frozen=True)
class Answer:
    """What Yahoo answered of one symbol, and the words of it that tell which rows are bars.

    `frame` is unadjusted, with actions, nothing left out or mended; empty where there are no rows. `last_trade` and
    `first_trade` are in the zone of the exchange. `at` is when Yahoo answered, by its own clock; `hours` are the open
    and the close of the session of the day.
    """

    frame: pd.DataFrame
    at: datetime | None
    instrument: Instrument = field(default_factory=Instrument)
    last_trade: datetime | None = None
    first_trade: datetime | None = None
    hours: tuple[datetime, datetime] | None = None


@dataclass(frozen=True)
class Chart:
    """The bars of an answer; `first` and `last` label its rows, `unsound` counts those that cannot have been traded.

    Shape: `bars` has RAW_SCHEMA, sound, in order, the running bar included; `quiet` has symbol and ts.
    """

    bars: pl.DataFrame
    quiet: pl.DataFrame
    splits: tuple[Split, ...] = ()
    first: datetime | None = None
    last: datetime | None = None
    unsound: int = 0


def read_chart(symbol: str, timeframe: Timeframe, answer: Answer) -> Chart:
    """The bars that Yahoo's rows stand for."""
    if answer.frame.empty:
        return Chart(pl.DataFrame(schema=RAW_SCHEMA), pl.DataFrame(schema=QUIET))
    rows = _rows(answer.frame, timeframe)
    traded = pl.all_horizontal((pl.col(price).is_finite() & (pl.col(price) > 0)) for price in PRICES)
    given = rows.filter(traded).unique("ts", keep="last", maintain_order=True).with_columns(_still(answer))
    bars = given[:-1] if _ends_live(given, timeframe, answer) else given
    if timeframe.intraday and not _is_first_ever(rows, answer):
        bars = bars.filter(pl.col("ts") > rows["ts"][0])
    moved = bars.filter(~pl.col("still"))
    sound = _sound(moved)
    named = pl.lit(symbol).alias("symbol")
    return Chart(
        sound.select(named, *list(RAW_SCHEMA)[1:]),
        bars.filter("still").select(named, "ts"),
        _splits(rows),
        rows["ts"][0],
        given["ts"][-1] if len(given) else None,
        moved.height - sound.height,
    )


def _rows(frame: pd.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """The rows as they are; `day` is the local date."""
    day = frame.index.tz_localize(None).to_numpy().astype("datetime64[D]").astype("datetime64[us]")
    start = frame.index.tz_convert(None).to_numpy().astype("datetime64[us]") if timeframe.intraday else day
    columns = {name: frame[name.title()].to_numpy("float64") for name in (*PRICES, "volume")}
    split = frame["Stock Splits"].to_numpy("float64")
    rows = pl.DataFrame({"day": day, "ts": start, **columns, "split": split})
    return rows.with_columns(pl.col("day", "ts").dt.replace_time_zone("UTC").cast(INSTANT))


def _splits(rows: pl.DataFrame) -> tuple[Split, ...]:
    """Splits at the first bar of their day.

    yfinance gives one that comes before the opening of an hourly chart to the last bar of the day before.
    """
    openings = rows.group_by("day", maintain_order=True).agg(pl.col("ts").first())["ts"]
    found = rows.filter(pl.col("split") > 0).select(pl.col("ts"), "split")
    return tuple(
        Split(openings[place], shares)
        for ts, ratio in found.iter_rows()
        if (place := openings.search_sorted(ts)) < len(openings)
        and (shares := Fraction(ratio).limit_denominator(1_000_000)) > 0
    )


def _still(answer: Answer) -> pl.Expr:
    """Whether a share was not traded: a flat row without volume, where there was volume before.

    The price of other kinds can stand still while they are traded, and their volume says nothing.
    """
    flat = (pl.col("open") == pl.col("close")) & (pl.col("high") == pl.col("low")) & (pl.col("volume") == 0)
    still = flat & (pl.col("volume").cum_max() > 0) & (answer.instrument.kind in _SHARES)
    return still.alias("still")


def _ends_live(rows: pl.DataFrame, timeframe: Timeframe, answer: Answer) -> bool:
    """Whether the last row is a live one: off the grid, at the very time of the last trade, or still in spite of it."""
    if rows.is_empty():
        return False
    row, trade = rows.row(-1, named=True), answer.last_trade
    if timeframe.intraday and _off_grid(rows, timeframe):
        return True
    if trade is None:
        return False
    if not timeframe.intraday:
        return bool(row["still"]) and trade.date() == row["ts"].date()
    at_once = trade == row["ts"] and row["high"] == row["low"] and not row["volume"]
    return bool(at_once or (row["still"] and row["ts"] <= trade < row["ts"] + timeframe.length))


def _off_grid(rows: pl.DataFrame, timeframe: Timeframe) -> bool:
    """Whether the last row follows the one before it by no multiple of the timeframe, or of half an hour's break."""
    last = rows["ts"][-1]
    before = rows.filter(pl.col("day") == pl.col("day").last())["ts"].tail(2)[0]
    return bool(last.second or (last - before) % min(timeframe.length, _BREAK))


def _is_first_ever(rows: pl.DataFrame, answer: Answer) -> bool:
    return answer.first_trade is not None and rows["day"][0].date() <= answer.first_trade.date()


def _sound(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows whose high and low hold the open and the close, or come so near that they can be made to."""
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    holds = (pl.col("high") >= top * (1 - _AUCTION)) & (pl.col("low") <= bottom * (1 + _AUCTION))
    return rows.filter(holds).with_columns(
        pl.max_horizontal("high", top), pl.min_horizontal("low", bottom),
        pl.when(pl.col("volume") > 0).then("volume"),
    )  # fmt: skip
