"""What Yahoo knows: listings with their final bars, of which it shows those that have begun.

The *stamp* of a row is Yahoo's label: the start of an intraday bar, the opening bell of a daily one. Bars are given as
they were traded; a *view* is what Yahoo shows of them at an instant: the running bar unfinished, splits and dividends
of the past worked into all that was before them.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction

import polars as pl

from tests.yahoo.faults import PRICES, Change, Fault, Strike, within
from tests.yahoo.hours import Hours

DAY = timedelta(days=1)
LENGTHS = {
    "1m": timedelta(minutes=1), "2m": timedelta(minutes=2), "5m": timedelta(minutes=5), "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30), "60m": timedelta(hours=1), "90m": timedelta(minutes=90), "1h": timedelta(hours=1),
    "4h": timedelta(hours=4), "1d": DAY, "5d": 5 * DAY, "1wk": 7 * DAY, "1mo": 30 * DAY, "3mo": 91 * DAY,
}  # fmt: skip
EXCHANGES = {
    "XNYS": ("NMS", "NasdaqGS"), "XLON": ("LSE", "LSE"), "XETR": ("GER", "XETRA"), "XTKS": ("JPX", "Tokyo"),
    "XHKG": ("HKG", "HKSE"), "XBOM": ("NSI", "NSE"), "XTSE": ("TOR", "Toronto"), "XASX": ("ASX", "ASX"),
    "XPAR": ("PAR", "Paris"), "24/7": ("CCC", "CCC"), "FX": ("CCY", "CCY"), "CMES": ("CME", "CME"),
}  # fmt: skip
_TOGETHER = (
    pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(), pl.col("volume").sum(),
)  # fmt: skip
_INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class StockSplit:
    """`ratio` new shares for each old one, traded from the open of `day` on.

    Yahoo rewrites the history before it at `known`, by default at that open; with `intraday_waits` the intraday
    history not before the next day.
    """

    day: date
    ratio: Fraction
    intraday_waits: bool = False
    known: datetime | None = None


@dataclass(frozen=True)
class Dividend:
    """An amount a share, as it was paid: ex at the open of `day`, named by Yahoo since that day's midnight."""

    day: date
    amount: float


@dataclass
class Listing:
    """One symbol. `bars` has for each interval the columns ts, stamp, end, and the values.

    `delay` is how much later than its exchange Yahoo is; from `renamed` on the answers have the new name.
    """

    symbol: str
    currency: str
    kind: str
    exchange: tuple[str, str]
    hours: Hours
    bars: dict[str, pl.DataFrame]
    splits: Sequence[StockSplit] = ()
    dividends: Sequence[Dividend] = ()
    delay: timedelta = timedelta()
    renamed: tuple[datetime, str] | None = None

    def name(self, at: datetime) -> str:
        return self.renamed[1] if self.renamed and self.renamed[0] <= at else self.symbol

    def rewritten(self, split: StockSplit, interval: str) -> datetime:
        """When Yahoo applies a split to the bars of an interval."""
        opens = self.hours.stamp(split.day)
        known = split.known or opens
        if split.intraday_waits and LENGTHS[interval] < DAY:
            return max(known, self.hours.between(opens + DAY, opens + 15 * DAY)[0].start)
        return known


@dataclass(frozen=True)
class Edit:
    """A change at work for a symbol (empty: for all) and an interval, from `start` until before `end`."""

    symbol: str
    interval: str
    change: Change
    start: datetime | None
    end: datetime | None


class YahooMarket:
    """All listings, at the time that `clock` tells.

    `edge` is how old an answer is when it is first given, and how long it is then given again for the same URL;
    `understates` makes the volume of the first row of an intraday answer too small; `asks_for_crumb` makes the chart
    refuse a wrong crumb.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.clock = clock
        self.listings: dict[str, Listing] = {}
        self.edge = timedelta()
        self.understates = False
        self.asks_for_crumb = False
        self._edits: list[Edit] = []
        self._strikes: list[Strike] = []
        self._counting = threading.Lock()

    def at(self, now: datetime) -> None:
        """Stop the clock at an instant."""
        self.clock = lambda: now

    def add(
        self,
        symbol: str,
        *,
        bars: Mapping[str, pl.DataFrame],
        market: str = "XNYS",
        currency: str = "USD",
        kind: str = "EQUITY",
        exchange: str | None = None,
        zone: str | None = None,
        splits: Iterable[StockSplit] = (),
        dividends: Iterable[Dividend] = (),
        delay: timedelta = timedelta(),
    ) -> None:
        """Know a symbol with the final bars of some intervals, as they were traded.

        Bars of other intervals are put together from the finest ones given.
        Shape: a frame has ts, open, high, low, close and volume, in order; a daily `ts` is a date at 00:00 UTC.
        """
        hours = Hours(market, zone)
        names = (exchange, exchange) if exchange else EXCHANGES.get(market, (market, market))
        marked = {interval: _marked(frame, interval, hours) for interval, frame in bars.items()}
        self.listings[symbol] = Listing(
            symbol, currency, kind, names, hours, marked, tuple(splits), tuple(dividends), delay
        )

    def fail(
        self,
        fault: Fault,
        *symbols: str,
        start: datetime | None = None,
        end: datetime | None = None,
        times: int | None = None,
    ) -> None:
        """Answer with a fault: for some symbols or all, in a window of the clock, so many requests."""
        self._strikes.append(Strike(fault, symbols, start, end, times))

    def edit(
        self,
        symbol: str,
        interval: str,
        change: Change,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        """Show other rows than there are: for a symbol or "" for all, in a window of the clock."""
        self._edits.append(Edit(symbol, interval, change, start, end))

    def rename(self, symbol: str, new: str, at: datetime) -> None:
        """Answer under another name from an instant on; the new name is known too."""
        old = self.listings[symbol]
        old.renamed = (at, new)
        self.listings[new] = Listing(**(vars(old) | {"symbol": new}))

    def heal(self) -> None:
        """Forget faults and edits."""
        self._edits.clear()
        self._strikes.clear()
        self.edge, self.understates, self.asks_for_crumb = timedelta(), False, False

    def fault(self, endpoint: str, symbol: str, at: datetime) -> Fault | None:
        """The fault that meets a request; it counts as used."""
        with self._counting:
            for strike in self._strikes:
                if strike.meets(endpoint, symbol, at):
                    strike.times = strike.times and strike.times - 1
                    return strike.fault
        return None

    def view(self, listing: Listing, interval: str, at: datetime) -> pl.DataFrame:
        """The rows that Yahoo shows of a listing at an instant, with `adjclose`."""
        rows = _begun(listing, interval, at)
        for edit in self._edits:
            if edit.symbol in {"", listing.symbol} and edit.interval == interval and within(edit.start, edit.end, at):
                rows = edit.change(rows, at)
        return _less_dividends(listing, _split(listing, rows, interval, at), at)


def _marked(frame: pl.DataFrame, interval: str, hours: Hours) -> pl.DataFrame:
    length = LENGTHS[interval]
    labels = frame["ts"].to_list()
    if length < DAY:
        stamps, ends = labels, [hours.bar_end(label, length) for label in labels]
    else:
        stamps, ends = [hours.stamp(label.date()) for label in labels], [hours.end(label.date()) for label in labels]
    return frame.select(
        pl.col("ts").cast(_INSTANT),
        pl.Series("stamp", stamps, _INSTANT),
        pl.Series("end", ends, _INSTANT),
        *(pl.col(name).cast(pl.Float64) for name in (*PRICES, "volume")),
    )


def _begun(listing: Listing, interval: str, at: datetime) -> pl.DataFrame:
    if interval not in listing.bars:
        listing.bars[interval] = _built(listing, interval)
    rows = listing.bars[interval].filter(pl.col("stamp") <= at)
    if rows.is_empty() or rows["end"][-1] <= at:
        return rows
    return pl.concat([rows[:-1], _running(listing, interval, rows[-1:], at)])


def _built(listing: Listing, interval: str) -> pl.DataFrame:
    fine, length, hours = listing.bars[min(listing.bars, key=LENGTHS.__getitem__)], LENGTHS[interval], listing.hours
    if fine.is_empty() or length > DAY or fine["end"][0] - fine["stamp"][0] >= length:
        return fine.clear()
    days = hours.between(fine["stamp"][0], fine["stamp"][-1])
    if length == DAY:
        days = hours.barred(days)
        stamps, ends = [day.start for day in days], [hours.end(day.date) for day in days]
        names = [datetime.combine(day.date, time(), UTC) for day in days]
    else:
        stamps = names = hours.starts(length, days)
        ends = [hours.bar_end(stamp, length) for stamp in stamps]
    grid = pl.DataFrame({"ts": names, "grid": stamps, "over": ends})
    built = (
        fine.drop("ts", "end")
        .join_asof(grid, left_on="stamp", right_on="grid")
        .filter(pl.col("stamp") < pl.col("over"))
    )
    return _marked(built.group_by("ts", maintain_order=True).agg(_TOGETHER), interval, hours)


def _running(listing: Listing, interval: str, last: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The unfinished last row: what finer bars tell of it, else part of the final one."""
    finer = min(listing.bars, key=LENGTHS.__getitem__)
    if LENGTHS[finer] < LENGTHS[interval]:
        parts = _begun(listing, finer, at).filter(pl.col("stamp") >= last["stamp"][0])
        if len(parts):
            return last.select("ts", "stamp", "end").hstack(parts.select(_TOGETHER))
    return _part(last, at)


def _part(last: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """A bar some way through: it has yet to come back from its extreme, so it does not close as it will at its end."""
    row = last.row(0, named=True)
    gone = (at - row["stamp"]) / (row["end"] - row["stamp"])
    far = max(row["high"], row["low"], key=lambda price: abs(price - row["close"]))
    close = row["close"] + (far - row["close"]) * (1 - gone) / 2
    return last.with_columns(
        pl.lit(close).alias("close"),
        pl.lit(max(row["open"], close)).alias("high"),
        pl.lit(min(row["open"], close)).alias("low"),
        (pl.col("volume") * gone).floor(),
    )


def _split(listing: Listing, rows: pl.DataFrame, interval: str, at: datetime) -> pl.DataFrame:
    for split in listing.splits:
        if at >= listing.rewritten(split, interval):
            old = pl.when(pl.col("stamp") < listing.hours.stamp(split.day))
            ratio = float(split.ratio)
            rows = rows.with_columns(
                *(old.then(pl.col(price) / ratio).otherwise(pl.col(price)).alias(price) for price in PRICES),
                old.then(pl.col("volume") * ratio).otherwise(pl.col("volume")).alias("volume"),
            )
    return rows


def _less_dividends(listing: Listing, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    rows = rows.with_columns(pl.col("close").alias("adjclose"))
    for dividend in listing.dividends:
        ex = listing.hours.stamp(dividend.day)
        earlier = rows.filter(pl.col("stamp") < ex)["close"].drop_nulls()
        if at >= ex and len(earlier):
            factor = 1 - paid(listing, dividend, at) / earlier[-1]
            kept = pl.when(pl.col("stamp") < ex).then(pl.col("adjclose") * factor).otherwise(pl.col("adjclose"))
            rows = rows.with_columns(kept.alias("adjclose"))
    return rows


def paid(listing: Listing, dividend: Dividend, at: datetime) -> float:
    """A dividend in the shares of an instant."""
    later = [split for split in listing.splits if split.day > dividend.day and at >= listing.rewritten(split, "1d")]
    amount = dividend.amount
    for split in later:
        amount /= float(split.ratio)
    return amount
