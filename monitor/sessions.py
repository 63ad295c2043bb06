"""When bars end.

A *market* is the code of an exchange calendar (`XNYS`, `24/7`). A *session* is one trading day of a market, known by
its date. A lunch break parts a session into two *runs*; without one the session is a single run. Intraday bars are
counted from the start of their run. A calendar is a hint: a bar it does not know of is taken to close late, never
early, so that an unknown session delays a bar and never lets a forming one pass for closed.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING

import polars as pl

from monitor.core.bars import INSTANT
from monitor.errors import InputError

if TYPE_CHECKING:
    from monitor.core.timeframe import Timeframe

MARKETS = frozenset({
    "24/5", "24/7", "AIXK", "ASEX", "BVMF", "CMES", "IEPA", "XAMS", "XASX", "XBDA", "XBEL", "XBKK", "XBOG", "XBOM",
    "XBRA", "XBRU", "XBSE", "XBUD", "XBUE", "XCBF", "XCSE", "XCYS", "XDUB", "XDUS", "XEEE", "XETR", "XEUR", "XFRA",
    "XHAM", "XHEL", "XHKG", "XICE", "XIDX", "XIST", "XJSE", "XKAR", "XKLS", "XKRX", "XLIM", "XLIS", "XLIT", "XLJU",
    "XLON", "XLUX", "XMAD", "XMEX", "XMIL", "XMOS", "XNYS", "XNZE", "XOSL", "XPAR", "XPHS", "XPRA", "XRIS", "XSAU",
    "XSES", "XSGO", "XSHG", "XSTO", "XSTU", "XSWX", "XTAE", "XTAI", "XTAL", "XTKS", "XTSE", "XWAR", "XWBO", "XZAG",
    "us_futures",
})  # fmt: skip

_OTHER_NAMES = {
    "NYSE": "XNYS", "NASDAQ": "XNYS", "XNAS": "XNYS", "ARCX": "XNYS", "LSE": "XLON", "TSE": "XTKS", "HKEX": "XHKG",
    "XETRA": "XETR", "NSE": "XBOM", "XNSE": "XBOM", "BSE": "XBOM", "XSHE": "XSHG", "TSX": "XTSE", "ASX": "XASX",
    "CME": "CMES", "CRYPTO": "24/7", "FX": "24/5", "FOREX": "24/5",
}  # fmt: skip

_PERIODS = {"1d": "1d", "1wk": "1w", "1mo": "1mo"}
_LATE = timedelta(hours=12)
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_RUNS = dict.fromkeys(("start", "rest", "resume", "close"), INSTANT)
_TABLE = {"date": INSTANT} | _RUNS


def parse_market(text: str) -> str:
    """The market of that code.

    Raises: InputError, with the nearest code.
    """
    if text in MARKETS:
        return text
    upper = text.strip().upper()
    near = _OTHER_NAMES.get(upper) or next(iter(get_close_matches(upper, MARKETS, 1, 0.3)), "XNYS")
    raise InputError(f"unknown market {text!r}; expected the code of an exchange calendar", f"did you mean {near!r}?")


class Sessions:
    """The sessions of a market from `first` to `last`, as far as its calendar knows them.

    `known_until` is the instant up to which they are known: past it every bar is taken to close late.
    Raises: InputError.
    """

    def __init__(self, market: str, first: date, last: date) -> None:
        self.market = parse_market(market)
        if first >= last:
            raise InputError(f"sessions of {market} asked from {first} to {last}; expected the first before the last")
        sessions, end = _sessions(market, first, last)
        self.known_until = datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)
        self._runs = _runs(sessions)
        self._longer = {name: _periods(sessions, every, self.known_until) for name, every in _PERIODS.items()}

    def closed_at(self, labels: pl.Series, timeframe: Timeframe) -> pl.Series:
        """The instant after which each bar cannot change.

        An intraday bar ends after its length, at the lunch break it ends in, or with its session; a longer one with
        the last session of its day, week or month, any date of which is a good label.
        Shape: `INSTANT`, as long as `labels`; null where a label is null.
        """
        closed = self._ends(labels, timeframe.length) if timeframe.intraday else self._closes(labels, timeframe.name)
        return closed.rename("closed_at")

    def newest_closed(self, timeframe: Timeframe, at: datetime) -> tuple[datetime, datetime] | None:
        """Label and `closed_at` of the newest known bar that has closed at that instant."""
        bars = self._near(timeframe, at)
        closed = bisect_right(bars["closed_at"], at)
        return (bars["label"][closed - 1], bars["closed_at"][closed - 1]) if closed else None

    def next_close(self, timeframe: Timeframe, after: datetime) -> datetime:
        """The first end of a bar after that instant; one bar's length later where no session is known."""
        ends = self._near(timeframe, after)["closed_at"]
        closed = bisect_right(ends, after)
        return ends[closed] if closed < len(ends) else after + timeframe.length

    def _ends(self, labels: pl.Series, length: timedelta) -> pl.Series:
        index = self._runs["start"].search_sorted(labels, side="right").cast(pl.Int64) - 1
        end = pl.col("label") + length
        # A bar of another grid may go on after the break: only one that ends within it ends with its run.
        bound = pl.when(end <= pl.col("resume")).then("rest").otherwise("close")
        return (
            self._runs[index.clip(0)]
            .with_columns(labels.cast(INSTANT).alias("label"))
            .select(pl.when(pl.col("label") < pl.col("rest")).then(pl.min_horizontal(end, bound)).otherwise(end))
            .to_series()
        )

    def _closes(self, labels: pl.Series, name: str) -> pl.Series:
        label, every = pl.col("label"), _PERIODS[name]
        dated = label == label.dt.truncate("1d")
        return (
            labels.cast(INSTANT)
            .alias("label")
            .to_frame()
            .with_columns(pl.when(dated).then(label.dt.truncate(every)).alias("period"))
            .join(self._longer[name].rename({"label": "period"}), on="period", how="left", maintain_order="left")
            .select(pl.coalesce("closed_at", label.dt.offset_by(every) + _LATE))
            .to_series()
        )

    def _near(self, timeframe: Timeframe, at: datetime) -> pl.DataFrame:
        """Label and `closed_at` of the known bars around an instant, in order."""
        if not timeframe.intraday:
            return self._longer[timeframe.name]
        # Two runs back: a bar that may outlast the break can still be open when the run after it has begun.
        current = bisect_right(self._runs["start"], at) - 1
        around = self._runs.slice(max(current - 2, 0), 4)
        starts = pl.int_ranges(
            pl.col("start").to_physical(), pl.col("rest").to_physical(), timeframe.length // timedelta(microseconds=1)
        )
        labels = around.select(starts.explode().cast(INSTANT).alias("label")).drop_nulls()
        return labels.with_columns(self.closed_at(labels["label"], timeframe))


def _sessions(market: str, first: date, last: date) -> tuple[pl.DataFrame, date]:
    """The session table, and the last date it speaks for."""
    from exchange_calendars import get_calendar
    from exchange_calendars.errors import NoSessionsError

    try:
        calendar = get_calendar(market, start=first.isoformat(), end=last.isoformat())
    except NoSessionsError:
        return pl.DataFrame(schema=_TABLE), last
    except ValueError:  # the holidays of some markets are recorded for some years only
        known = get_calendar(market)
        earliest, latest = known.bound_min(), known.bound_max()
        within = max(first, earliest.date() if earliest else first), min(last, latest.date() if latest else last)
        if within == (first, last):
            raise
        return _sessions(market, *within) if within[0] < within[1] else (pl.DataFrame(schema=_TABLE), within[1])
    instants = {
        "date": calendar.sessions.to_numpy(),
        "start": calendar.opens_nanos.view("datetime64[ns]"),
        "rest": calendar.break_starts_nanos.view("datetime64[ns]"),
        "resume": calendar.break_ends_nanos.view("datetime64[ns]"),
        "close": calendar.closes_nanos.view("datetime64[ns]"),
    }
    return pl.DataFrame(instants).select(pl.all().dt.replace_time_zone("UTC").cast(INSTANT)), last


def _runs(sessions: pl.DataFrame) -> pl.DataFrame:
    """Of each run its start, its end (`rest`), the end of the break after it (`resume`) and the close of its session.

    The first row is an empty run before all others: every instant has a run that began before it.
    """
    before = pl.DataFrame([[_LONG_AGO]] * 4, schema=_RUNS)
    to_the_break = sessions.select(
        "start", pl.coalesce("rest", "close").alias("rest"), pl.coalesce("resume", "close").alias("resume"), "close"
    )
    after_it = sessions.drop_nulls("resume").select(
        pl.col("resume").alias("start"), pl.col("close").alias("rest"), pl.col("close").alias("resume"), "close"
    )
    return pl.concat([before, to_the_break, after_it]).sort("start")


def _periods(sessions: pl.DataFrame, every: str, known_until: datetime) -> pl.DataFrame:
    """Label and `closed_at` of each day, week or month that has a session and is known to its end."""
    return (
        sessions.group_by(pl.col("date").dt.truncate(every).alias("label"))
        .agg(pl.col("close").max().alias("closed_at"))
        .filter(pl.col("label").dt.offset_by(every) <= known_until)
        .sort("label")
    )
