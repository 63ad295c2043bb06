"""Splits found in unadjusted prices by their adjusted close, and undone.

The *adjusted close* is the close after splits and dividends. Close divided by it steps at each ex-date: by the whole
split ratio at a split, by a few percent at a dividend. Undoing a split divides every price before its ex-date by one
constant; to multiply by each row's own ratio would carry the rounding of the adjusted close into the prices, and equal
highs and lows would no longer be equal.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from statistics import median_high

import polars as pl

from monitor.core.bars import PRICES

_WHOLE = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100)
_FORWARD = (*(Fraction(shares) for shares in _WHOLE), Fraction(3, 2), Fraction(4, 3), Fraction(5, 4), Fraction(5, 2))
RATIOS = tuple(sorted({*_FORWARD, *(1 / ratio for ratio in _FORWARD)}))
_NEAR = 0.01
_SAME = 0.005
_BESIDE = 5


@dataclass(frozen=True)
class Split:
    """`ratio` new shares for each old one, from the bar labelled `ts` on."""

    ts: datetime
    ratio: Fraction


def find_splits(closes: pl.DataFrame) -> list[Split]:
    """The splits that the prices of one symbol have not been adjusted for.

    Shape: `closes` has ts, close and adjusted, in order; rows without an adjusted close are passed over.
    """
    step = pl.col("quotient").shift(1) / pl.col("quotient")
    steps = (
        closes.filter((pl.col("adjusted") > 0) & pl.col("adjusted").is_finite() & (pl.col("close") > 0))
        .select("ts", (pl.col("close") / pl.col("adjusted")).alias("quotient"))
        .select("ts", step.alias("step"))
        .filter((pl.col("step").log().abs() > 0.2) & pl.col("step").is_finite())
    )
    return [Split(ts, ratio) for ts, size in steps.iter_rows() if (ratio := _ratio(size)) is not None]


def _ratio(step: float) -> Fraction | None:
    nearest = min(RATIOS, key=lambda ratio: abs(math.log(step / ratio)))
    return nearest if abs(step / nearest - 1) <= _NEAR else None


def undo_splits(bars: pl.DataFrame, splits: list[Split]) -> pl.DataFrame:
    """The bars of one symbol as if the newest shares had been traded always."""
    if not splits:
        return bars
    shares = {split.ts: math.prod(later.ratio for later in splits if later.ts >= split.ts) for split in splits}
    new, old = pl.lit(1.0), pl.lit(1.0)
    for ts, ratio in reversed(shares.items()):
        new = pl.when(pl.col("ts") < ts).then(float(ratio.numerator)).otherwise(new)
        old = pl.when(pl.col("ts") < ts).then(float(ratio.denominator)).otherwise(old)
    return bars.with_columns(pl.col(*PRICES) * old / new, pl.col("volume") * new / old)


def rebase(older: pl.DataFrame, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Older bars on the scale of a history that was given anew; none where that scale cannot be told.

    The oldest bars that both histories have lie beside the older ones: what happened to most of them holds for those.
    Shape: bar frames of one symbol, in order; `before` and `after` are its history then and now.
    """
    both = before.join(after, on="ts", suffix="_now", maintain_order="left").head(_BESIDE)
    ratios = both.select(pl.col("close_now") / pl.col("close")).to_series().to_list()
    factor = median_high(ratios) if ratios else 1.0
    agreeing = sum(abs(ratio / factor - 1) <= _SAME for ratio in ratios)
    if agreeing < 2 or 2 * agreeing <= len(ratios):
        return older.clear()
    return older.with_columns(pl.col(*PRICES) * factor, pl.col("volume") / factor)
