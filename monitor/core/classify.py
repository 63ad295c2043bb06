"""Classification: what one bar says against the bar before it: it is *real* when it closes beyond that bar's range.

The rules, with examples, are published in docs/method.md.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import polars as pl


class BarClass(StrEnum):
    """What a bar is against its predecessor; the first bar of a history has none."""

    REAL_BULL = "real_bull"
    REAL_BEAR = "real_bear"
    FAKE = "fake"
    UNCLASSIFIED = "unclassified"


BAR_CLASSES = {1: BarClass.REAL_BULL, -1: BarClass.REAL_BEAR, 0: BarClass.FAKE}
VOLUME_BARS = 20


@dataclass(frozen=True)
class Method:
    """The choices of the real/fake bar method.

    `range`: beyond the wicks or the body of the bar before. `min_volume_ratio`: a bar with less than that multiple of
    the average volume of the 20 bars that end with it is fake. `confirmation`: real bars of one kind that make a trend.
    `fakes`: whether a fake bar between them breaks their run.
    """

    range: Literal["wicks", "body"] = "wicks"
    min_volume_ratio: float | None = None
    confirmation: int = 2
    fakes: Literal["ignore", "break"] = "ignore"

    @property
    def bars_before(self) -> int:
        """How many earlier bars the class of a bar depends on."""
        return 1 if self.min_volume_ratio is None else VOLUME_BARS


def sign(method: Method) -> pl.Expr:
    """+1 for a real bull bar, −1 for a real bear bar, 0 for a fake one; null for the first bar of each symbol.

    Shape: an Int8 expression over a bar frame sorted by symbol and ts. Fewer than 20 volumes are never too low.
    """
    body = method.range == "body"
    top = pl.max_horizontal("open", "close") if body else pl.col("high")
    bottom = pl.min_horizontal("open", "close") if body else pl.col("low")
    beyond = (pl.col("close") > top.shift(1)).cast(pl.Int8) - (pl.col("close") < bottom.shift(1)).cast(pl.Int8)
    if method.min_volume_ratio is not None:
        usual = pl.col("volume").rolling_mean(VOLUME_BARS).over("symbol")
        too_low = (pl.col("volume") < method.min_volume_ratio * usual).fill_null(value=False)
        beyond = pl.when(too_low & beyond.is_not_null()).then(pl.lit(0, pl.Int8)).otherwise(beyond)
    return pl.when(pl.col("symbol") == pl.col("symbol").shift(1)).then(beyond)


def named(sign: pl.Expr) -> pl.Expr:
    """The BarClass of a sign, as text; null is unclassified."""
    return sign.replace_strict(BAR_CLASSES, default=BarClass.UNCLASSIFIED, return_dtype=pl.String)
