"""The bar frame: what a bar is, when a frame of bars is sound, and which of them have closed.

A bar's *label* is its column `ts`: the start of an intraday bar, the session date at 00:00 UTC of a longer one.
`closed_at` is the instant after which the bar cannot change. A *raw* frame is what a provider gives: the same columns
without `closed_at`.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

INSTANT = pl.Datetime("us", "UTC")
PRICES = ("open", "high", "low", "close")
_LABELLED: dict[str, pl.DataType] = {"symbol": pl.String(), "ts": INSTANT}
_VALUES: dict[str, pl.DataType] = {name: pl.Float64() for name in (*PRICES, "volume")}
RAW_SCHEMA = pl.Schema(_LABELLED | _VALUES)
BAR_SCHEMA = pl.Schema(_LABELLED | {"closed_at": INSTANT} | _VALUES)


@dataclass(frozen=True)
class Violation:
    """One rule broken by one row; `row` counts from 0 in the frame that was checked."""

    row: int
    symbol: str
    ts: datetime | None
    rule: str
    value: str

    def __str__(self) -> str:
        when = self.ts.strftime("%Y-%m-%d %H:%M") if self.ts else "no time"
        return f"{self.symbol} {when}: {self.rule} ({self.value})"


def _rules() -> dict[str, tuple[pl.Expr, tuple[str, ...]]]:
    """What is wrong → where it is so, and the columns that show it."""
    after = pl.col("ts").shift(1).over("symbol")
    rules: dict[str, tuple[pl.Expr, tuple[str, ...]]] = {"has no time": (pl.col("ts").is_null(), ("ts",))}
    for price in PRICES:
        rules[f"{price} is missing or not a finite number"] = (
            ~pl.col(price).is_finite().fill_null(value=False),
            (price,),
        )
        rules[f"{price} is not above 0"] = (pl.col(price) <= 0, (price,))
    body = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    rules["high is below low"] = (pl.col("high") < pl.col("low"), ("high", "low"))
    rules["low is above open or close"] = (pl.col("low") > body[0], ("open", "low", "close"))
    rules["high is below open or close"] = (pl.col("high") < body[1], ("open", "high", "close"))
    rules["volume is negative or not a number"] = (
        (pl.col("volume") < 0) | ~pl.col("volume").is_finite().fill_null(value=True),
        ("volume",),
    )
    rules["stands twice"] = (pl.col("ts") == after, ("ts",))
    rules["is not in order of time"] = (pl.col("ts") < after, ("ts",))
    return rules


def violations(frame: pl.DataFrame) -> list[Violation]:
    """Every rule of the bar frame that a row breaks, in order of rows.

    Shape: a raw or a full bar frame; one violation a row and rule.
    """
    rules = _rules()
    flags = frame.select(
        pl.int_range(pl.len()).alias("row"),
        "symbol",
        "ts",
        *(bad.fill_null(value=False).alias(rule) for rule, (bad, _) in rules.items()),
    )
    broken = flags.filter(pl.any_horizontal(*rules))
    found = []
    for marks in broken.iter_rows(named=True):
        shown = frame.row(marks["row"], named=True)
        for rule, (_, columns) in rules.items():
            if marks[rule]:
                value = ", ".join(f"{column} {shown[column]}" for column in columns)
                found.append(Violation(marks["row"], marks["symbol"], marks["ts"], rule, value))
    return found
