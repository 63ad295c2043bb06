"""What can be wrong with Yahoo. A *fault* spoils an answer as a whole; a *change* spoils some of its rows."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

import polars as pl

PRICES = ("open", "high", "low", "close")
JSON = "application/json;charset=utf-8"
HTML = "text/html;charset=utf-8"
TEXT = "text/plain;charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """What goes back to the client."""

    status: int
    body: bytes = b""
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def refusal(status: int, code: str, description: str, name: str = "chart") -> Answer:
    """A refusal in the JSON of an end point."""
    refused = {name: {"result": None, "error": {"code": code, "description": description}}}
    return Answer(status, json.dumps(refused).encode())


def page(status: int, text: str) -> Answer:
    """An answer that is meant for people."""
    return Answer(status, f"<!DOCTYPE html><html><body><h1>{text}</h1></body></html>".encode(), HTML)


class Fault(Enum):
    """The end points it strikes, and what they answer: an answer, or what becomes of the connection or the chart."""

    UNKNOWN = "chart", refusal(404, "Not Found", "No data found, symbol may be delisted")
    BAD_REQUEST = "chart", refusal(400, "Bad Request", "Data doesn't exist for startDate = 1, endDate = 2")
    UNPROCESSABLE = (
        "chart",
        refusal(422, "Unprocessable Entity", "1h data not available. The requested range must be within 730 days."),
    )
    INVALID_CRUMB = "chart", refusal(401, "Unauthorized", "Invalid Crumb", "finance")
    RATE_LIMITED = "chart", Answer(429, b"Too Many Requests\r\n", TEXT)
    SERVER_ERROR = "chart", page(500, "Internal Server Error")
    BAD_GATEWAY = "chart", page(502, "Bad Gateway")
    DENIED = "chart", page(999, "Request denied")
    PAGE = "chart", page(200, "Yahoo is part of the Yahoo family of brands")
    WILL_BE_RIGHT_BACK = "chart", page(200, "Will be right back")
    HANG = "chart", "hang"
    RESET = "chart", "reset"
    NO_TIMESTAMP = "chart", "no timestamp"
    NO_BARS = "chart", "no bars"
    CRUMB_RATE_LIMITED = "crumb", Answer(429, b"Too Many Requests\r\n", TEXT)
    CRUMB_POISONED = "crumb", Answer(200, b"Too Many Requests\r\n", TEXT)
    CRUMB_HANG = "crumb", "hang"
    COOKIE_HANG = "cookie", "hang"
    COOKIE_RESET = "cookie", "reset"
    DOWN = "all", "reset"

    def strikes(self, endpoint: str) -> bool:
        return self.value[0] in {endpoint, "all"}

    @property
    def effect(self) -> Answer | str:
        return self.value[1]


@dataclass
class Strike:
    """A fault at work for some symbols (none named: all), from `start` until before `end`, `times` times."""

    fault: Fault
    symbols: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    times: int | None

    def meets(self, endpoint: str, symbol: str, at: datetime) -> bool:
        return (
            self.times != 0
            and self.fault.strikes(endpoint)
            and (not self.symbols or symbol in self.symbols)
            and within(self.start, self.end, at)
        )


def within(start: datetime | None, end: datetime | None, at: datetime) -> bool:
    """Whether an instant is in a window that may be open on either side."""
    return (start is None or start <= at) and (end is None or at < end)


Change = Callable[[pl.DataFrame, datetime], pl.DataFrame]
"""From the rows as they are at an instant, in the shares of their day, to those that Yahoo shows instead."""


def missing(first: datetime, last: datetime | None = None) -> Change:
    """Rows labelled from `first` to `last` are not there."""
    return lambda rows, _: rows.filter(~_labelled(first, last))


def late(by: timedelta) -> Change:
    """Rows appear that long after their end; none is shown running."""
    return lambda rows, at: rows.filter(pl.col("end") + by <= at)


def revised(ts: datetime, **values: float | None) -> Change:
    """The row of that label has other values."""
    new = [
        pl.when(pl.col("ts") == ts).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    ]
    return lambda rows, _: rows.with_columns(new)


def scaled(factor: float, first: datetime, last: datetime | None = None) -> Change:
    """Prices in another unit: pence for pounds is a factor of 100."""
    new = [pl.when(_labelled(first, last)).then(pl.col(price) * factor).otherwise(pl.col(price)) for price in PRICES]
    return lambda rows, _: rows.with_columns(new)


def blank(first: datetime, last: datetime | None = None, *, volume: bool = False) -> Change:
    """Rows without prices; with `volume` theirs is kept."""
    names = PRICES if volume else (*PRICES, "volume")
    new = [pl.when(~_labelled(first, last)).then(pl.col(name)).alias(name) for name in names]
    return lambda rows, _: rows.with_columns(new)


def flat(first: datetime, last: datetime | None = None) -> Change:
    """Rows of a suspended share: the close of the row before them, no volume."""
    gone = _labelled(first, last)
    kept = pl.when(~gone).then(pl.col("close")).forward_fill()
    new = [pl.when(gone).then(kept).otherwise(pl.col(price)).alias(price) for price in PRICES]
    return lambda rows, _: rows.with_columns(*new, pl.when(gone).then(0.0).otherwise(pl.col("volume")).alias("volume"))


def doubled(ts: datetime, **values: float) -> Change:
    """The row of that label stands twice, the second time a minute later and with other values."""

    def change(rows: pl.DataFrame, _: datetime) -> pl.DataFrame:
        again = rows.filter(pl.col("ts") == ts).with_columns(
            pl.col("stamp") + timedelta(minutes=1), *(pl.lit(value).alias(name) for name, value in values.items())
        )
        return pl.concat([rows, again]).sort("stamp", maintain_order=True)

    return change


def snapshot(*, instead: bool = False) -> Change:
    """A live row at the time of the last trade follows the last row: flat, without volume.

    `instead`: it stands in the place of a running row.
    """

    def change(rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
        close, stamp = pl.col("close"), pl.lit(at.replace(microsecond=0)).clip(upper_bound=pl.col("end"))
        live = rows[-1:].with_columns(
            stamp.cast(pl.Datetime("us", "UTC")).alias("stamp"), *(close.alias(price) for price in PRICES), volume=0.0
        )
        kept = rows[:-1] if instead and len(rows) and rows["end"][-1] > at else rows
        return pl.concat([kept, live])

    return change


def _labelled(first: datetime, last: datetime | None) -> pl.Expr:
    return pl.col("ts").is_between(first, last or first)
