"""Series: what was before, how it ranks, and when one crossed another."""

# mypy: disable-error-code="no-any-return"
# polars_talib leaves some of its functions without types.

from typing import Annotated

import polars as pl
import polars_talib as ta

from monitor.core.indicators.registry import (
    ANCHORED,
    Bounds,
    Dense,
    Length,
    Length2,
    Level,
    Series,
    Truth,
    indicator,
)

_OURS = "Barwatch"

Percent = Annotated[float, Bounds(0, 100)]


@indicator(
    "a is above b and was not at the bar before.",
    unit="truth", lookback=lambda: 1, source=_OURS,
)  # fmt: skip
def crossover(a: Level, b: Level, slack: pl.Expr) -> Truth:
    above = a - b > slack
    return above > above.shift(1)


@indicator(
    "a is below b and was not at the bar before.",
    unit="truth", lookback=lambda: 1, source=_OURS,
)  # fmt: skip
def crossunder(a: Level, b: Level, slack: pl.Expr) -> Truth:
    below = b - a > slack
    return below > below.shift(1)


@indicator(
    "Bars since the condition was last true, 0 at such a bar; unknown before the first. From the first stored bar.",
    unit="bars", lookback=lambda: 0, smoothing=ANCHORED, source=_OURS,
)  # fmt: skip
def bars_since(condition: Truth) -> pl.Expr:
    bar = pl.int_range(pl.len())
    return bar - pl.when(condition).then(bar).forward_fill()


@indicator("The value n bars before.", unit="as x", lookback=lambda length: length, source=_OURS)
def prev(x: Series, length: Length = 1) -> pl.Expr:
    return x.shift(length)


@indicator("The value − the value n bars before.", unit="as x", lookback=lambda length: length, source=_OURS)
def change(x: Series, length: Length = 1) -> pl.Expr:
    return x - x.shift(length)


@indicator("Highest of the last n values, this one included.", unit="as x", lookback=lambda length: length - 1)
def highest(x: Dense, length: Length2 = 30) -> pl.Expr:
    return ta.max(x, length)


@indicator("Lowest of the last n values, this one included.", unit="as x", lookback=lambda length: length - 1)
def lowest(x: Dense, length: Length2 = 30) -> pl.Expr:
    return ta.min(x, length)


@indicator("Sum of the last n values, this one included.", unit="as x", lookback=lambda length: length - 1)
def sum_(x: Dense, length: Length2 = 30) -> pl.Expr:
    return ta.sum(x, length)


@indicator(
    "Share of the n values before this one that are not above it, as Pine has it; TA-Lib's counts only those below.",
    unit="0–100", lookback=lambda length: length, source=_OURS,
)  # fmt: skip
def percentrank(x: Dense, length: Length2 = 100) -> pl.Expr:
    return 100 - ta.percentrank(-x, length)


@indicator(
    "The value below which `percent` of the last n values lie.",
    unit="as x", lookback=lambda length, percent: length - 1,
)  # fmt: skip
def percentile(x: Dense, length: Length2 = 30, percent: Percent = 50) -> pl.Expr:
    return ta.percentile(x, length, percent)


@indicator("Pearson's correlation of the last n values of a and b.", unit="−1–1", lookback=lambda length: length - 1)
def correl(a: Dense, b: Dense, length: Length = 30) -> pl.Expr:
    return ta.correl(a, b, length)


@indicator("Size without sign.", unit="as x", lookback=lambda: 0, source=_OURS)
def abs_(x: Series) -> pl.Expr:
    return x.abs()


@indicator("The lower of a and b.", unit="as a", lookback=lambda: 0, source=_OURS)
def min_(a: Level, b: Level) -> pl.Expr:
    return pl.when(a.is_not_null() & b.is_not_null()).then(pl.min_horizontal(a, b))


@indicator("The higher of a and b.", unit="as a", lookback=lambda: 0, source=_OURS)
def max_(a: Level, b: Level) -> pl.Expr:
    return pl.when(a.is_not_null() & b.is_not_null()).then(pl.max_horizontal(a, b))
