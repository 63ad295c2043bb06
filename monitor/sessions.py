"""When bars end.

Intraday bars are counted from the start of their session, through a lunch break: of those in the break none is
expected, and one that would end in it ends with the trading before it. A calendar is a hint: a bar it does not know of
is taken to close late, never early, so that an unknown session delays a bar and never lets a forming one pass for
closed. `monitor.calendars` says what a session is and where its hours come from.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from monitor.calendars import SESSIONS, read_calendar
from monitor.core.bars import INSTANT
from monitor.errors import InputError
from monitor.markets import parse_market

if TYPE_CHECKING:
    from monitor.calendars import Observed
    from monitor.core.timeframe import Timeframe

_PERIODS = {"1d": "1d", "1wk": "1w", "1mo": "1mo"}
_LATE = timedelta(hours=12)
_SOON = timedelta(days=45)
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_BOUNDS = ("start", "rest", "resume", "close", "sure")
_TICK = timedelta(microseconds=1)


class Sessions:
    """The sessions of a market from `first` to `last`.

    Up to the instant `known_until` they are its calendar's. Past it they are those in `observed` (date → open and
    close), and on other days the usual ones: a bar missing there may be a holiday's.
    Raises: InputError.
    """

    def __init__(self, market: str, first: date, last: date, observed: Observed | None = None) -> None:
        self.market = parse_market(market)
        if first >= last:
            raise InputError(f"sessions of {market} asked from {first} to {last}; expected the first before the last")
        calendar = read_calendar(market, first, last, observed or {})
        self.known_until = _midnight_after(calendar.known)
        self._bound = calendar.bound
        # An empty session before all others: every instant has one that began before it.
        before = pl.DataFrame([(*[_LONG_AGO] * 6, True)], schema=SESSIONS, orient="row")
        self._sessions = pl.concat([before, calendar.sessions])
        self._turns = _turns(calendar.sessions)
        self._until = _midnight_after(last)
        self._longer = {name: self._periods(calendar.sessions, every) for name, every in _PERIODS.items()}

    def closed_at(self, labels: pl.Series, timeframe: Timeframe) -> pl.Series:
        """The instant after which each bar cannot change.

        An intraday bar ends after its length, at the lunch break it ends in, or with its session; a longer one with
        the last session of its day, week or month, any date of which is a good label.
        Shape: `INSTANT`, as long as `labels`; null where a label is null.
        """
        closed = self._ends(labels, timeframe.length) if timeframe.intraday else self._closes(labels, timeframe.name)
        return closed.rename("closed_at")

    def grid(self, timeframe: Timeframe, first: datetime, last: datetime) -> pl.DataFrame:
        """Every bar to be expected with a label from `first` to `last`, both included.

        Shape: label and closed_at, in order.
        """
        if not timeframe.intraday:
            return self._longer[timeframe.name].filter(pl.col("label").is_between(first, last))
        begun = bisect_right(self._sessions["start"], first) - 1
        ahead = bisect_right(self._sessions["start"], last)
        bars = _bars(self._sessions.slice(max(begun, 0), ahead - max(begun, 0)), timeframe.length)
        return bars.filter(pl.col("label").is_between(first, last))

    def newest_closed(self, timeframe: Timeframe, at: datetime) -> tuple[datetime, datetime] | None:
        """Label and `closed_at` of the newest expected bar that has closed at that instant."""
        bars = self._near(timeframe, at)
        closed = bisect_right(bars["closed_at"], at)
        return (bars["label"][closed - 1], bars["closed_at"][closed - 1]) if closed else None

    def next_close(self, timeframe: Timeframe, after: datetime) -> datetime:
        """The first end of a bar after that instant; one bar's length later where no session is known."""
        ends = self._near(timeframe, after)["closed_at"]
        closed = bisect_right(ends, after)
        return ends[closed] if closed < len(ends) else after + timeframe.length

    def closes_between(self, after: datetime, upto: datetime) -> int:
        """How many sessions closed later than `after` and not later than `upto`."""
        closes = self._longer["1d"]["closed_at"]
        return max(bisect_right(closes, upto) - bisect_right(closes, after), 0)

    def at(self, instant: datetime) -> tuple[bool, datetime]:
        """Whether the market is open, and when that changes: with the last session where no change is known."""
        passed = bisect_right(self._turns, instant)
        return passed % 2 == 1, self._turns[passed] if passed < len(self._turns) else self._until

    def warning(self, now: datetime) -> str | None:
        """One line when the calendar itself ends soon, or has ended."""
        if self._bound is None or now < _midnight_after(self._bound) - _SOON:
            return None
        return (
            f"the calendar of {self.market} ends on {self._bound}: later sessions are guessed from the usual hours "
            "and their bars close late; a newer exchange-calendars may know more"
        )

    def _ends(self, labels: pl.Series, length: timedelta) -> pl.Series:
        index = self._sessions["start"].search_sorted(labels, side="right").cast(pl.Int64) - 1
        return (
            self._sessions.select(_BOUNDS)[index.clip(0)]
            .with_columns(labels.cast(INSTANT).alias("label"))
            .select(_end(length))
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
        """Label and `closed_at` of the bars around an instant, in order."""
        if not timeframe.intraday:
            return self._longer[timeframe.name]
        current = bisect_right(self._sessions["start"], at) - 1
        return _bars(self._sessions.slice(max(current - 1, 0), 3), timeframe.length)

    def _periods(self, sessions: pl.DataFrame, every: str) -> pl.DataFrame:
        """Label and `closed_at` of each day, week or month that has a session and was asked for to its end.

        A week or month that is not known to its end lasts to it: it may have a session that nobody guesses.
        """
        over = pl.col("label").dt.offset_by(every)
        guessed = (over > self.known_until) & pl.lit(every != "1d")
        return (
            sessions.group_by(pl.col("date").dt.truncate(every).alias("label"))
            .agg(pl.col("close").max().alias("closed_at"))
            .filter(over <= self._until)
            .with_columns(pl.when(guessed).then(pl.max_horizontal("closed_at", over)).otherwise("closed_at"))
            .sort("label")
        )


def _bars(sessions: pl.DataFrame, length: timedelta) -> pl.DataFrame:
    """Label and `closed_at` of every intraday bar of some sessions."""
    label, step = pl.col("label"), length // _TICK
    labels = pl.int_ranges(pl.col("start").to_physical(), pl.col("end").to_physical(), step)
    in_the_break = (label >= pl.col("rest")) & (label + length <= pl.col("resume"))
    return (
        sessions.select(*_BOUNDS, labels.alias("label"))
        .explode("label")
        .with_columns(label.cast(INSTANT))
        .filter(~in_the_break.fill_null(value=False))
        .select("label", _end(length).alias("closed_at"))
    )


def _end(length: timedelta) -> pl.Expr:
    """The end of the bar at `label` in its session; a guessed break ends none early."""
    label, end = pl.col("label"), pl.col("label") + length
    into_the_break = pl.col("sure") & (label < pl.col("rest")) & (end > pl.col("rest")) & (end <= pl.col("resume"))
    return (
        pl.when(into_the_break)
        .then("rest")
        .when((label < pl.col("close")) & (end > pl.col("close")))
        .then("close")
        .otherwise(end)
    )


def _turns(sessions: pl.DataFrame) -> pl.Series:
    """The instants at which the market opens and closes, in turn."""
    opens = pl.concat([sessions["start"], sessions["resume"].drop_nulls()])
    ends = pl.concat([sessions["rest"].drop_nulls(), sessions["end"]])
    turns = pl.concat([opens, ends]).sort()
    return turns.filter(turns.is_unique())  # where one session follows upon another, nothing changes


def _midnight_after(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
