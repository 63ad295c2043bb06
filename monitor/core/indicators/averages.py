"""Averages and lines through a series: what a price is compared with."""

# mypy: disable-error-code="no-any-return"
# polars_talib leaves some of its functions without types.

import polars as pl
import polars_talib as ta

from monitor.core.indicators.registry import ANCHORED, Dense, Length, Length2, Share, exponential, indicator, wilder


def _window(length: int) -> int:
    return length - 1


@indicator("Simple moving average: the mean of the last n values.", unit="as x", lookback=_window)
def sma(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.sma(x, length)


@indicator(
    "Exponential moving average: k = 2 / (n + 1) of the value, the rest of the last average; begun by a mean of n.",
    unit="as x", lookback=_window, smoothing=exponential,
)  # fmt: skip
def ema(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.ema(x, length)


@indicator(
    "Wilder's moving average: k = 1 / n of the value, the rest of the last average; begun by a mean of n.",
    unit="as x", lookback=_window, smoothing=wilder,
)  # fmt: skip
def rma(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.rma(x, length)


@indicator("Weighted moving average: weights n, n − 1, … 1, the newest heaviest.", unit="as x", lookback=_window)
def wma(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.wma(x, length)


@indicator("Triangular moving average: a mean of means, the middle heaviest.", unit="as x", lookback=_window)
def trima(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.trima(x, length)


@indicator(
    "Double exponential moving average: 2 ema − ema(ema).",
    unit="as x", lookback=lambda length: 2 * (length - 1), smoothing=exponential,
)  # fmt: skip
def dema(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.dema(x, length)


@indicator(
    "Triple exponential moving average: 3 ema − 3 ema(ema) + ema(ema(ema)).",
    unit="as x", lookback=lambda length: 3 * (length - 1), smoothing=exponential,
)  # fmt: skip
def tema(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.tema(x, length)


@indicator(
    "Tillson's T3: six exponential averages, the overshoot weighted by `weight`.",
    unit="as x", lookback=lambda length, weight: 6 * (length - 1), smoothing=lambda length, weight: exponential(length),
)  # fmt: skip
def t3(x: Dense, length: Length = 5, weight: Share = 0.7) -> pl.Expr:
    return ta.t3(x, length, weight)


@indicator(
    "Hull moving average: wma(2 wma(x, n / 2) − wma(x, n), √n).",
    unit="as x", lookback=lambda length: length - 1 + int(length**0.5) - 1,
)  # fmt: skip
def hma(x: Dense, length: Length = 20) -> pl.Expr:
    return ta.hma(x, length)


@indicator(
    "Zero-lag exponential moving average: ema of 2 x − x from (n − 1) / 2 bars before.",
    unit="as x", lookback=lambda length: length - 1 + (length - 1) // 2, smoothing=exponential,
)  # fmt: skip
def zlema(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.zlema(x, length)


@indicator(
    "Kaufman's adaptive moving average: smooths less the straighter the way was. From the first stored bar.",
    unit="as x", lookback=lambda length: length if length > 1 else 0, smoothing=ANCHORED,
)  # fmt: skip
def kama(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.kama(x, length)


@indicator("Volume-weighted moving average: Σ x · volume / Σ volume of the last n bars.", unit="as x", lookback=_window)
def vwma(x: Dense, volume: pl.Expr, length: Length = 30) -> pl.Expr:
    return ta.vwma(x, volume, length)


@indicator("Middle of the range of x: (highest + lowest) / 2 of the last n values.", unit="as x", lookback=_window)
def midpoint(x: Dense, length: Length2 = 14) -> pl.Expr:
    return ta.midpoint(x, length)


@indicator(
    "Middle of the range of bars: (highest high + lowest low) / 2 of the last n bars.",
    unit="price", lookback=_window,
)  # fmt: skip
def midprice(high: pl.Expr, low: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.midprice(high, low, length)


@indicator("End of the least-squares line through the last n values.", unit="as x", lookback=_window)
def linearreg(x: Dense, length: Length2 = 14) -> pl.Expr:
    return ta.linearreg(x, length)


@indicator("Slope of the least-squares line through the last n values.", unit="x per bar", lookback=_window)
def linearreg_slope(x: Dense, length: Length2 = 14) -> pl.Expr:
    return ta.linearreg_slope(x, length)


@indicator(
    "Time series forecast: the least-squares line through the last n values, one bar on.",
    unit="as x", lookback=_window,
)  # fmt: skip
def tsf(x: Dense, length: Length2 = 14) -> pl.Expr:
    return ta.tsf(x, length)


@indicator("Typical price: (high + low + close) / 3.", unit="price", lookback=lambda: 0)
def typprice(high: pl.Expr, low: pl.Expr, close: pl.Expr) -> pl.Expr:
    return ta.typprice(high, low, close)


@indicator("Median price: (high + low) / 2.", unit="price", lookback=lambda: 0)
def medprice(high: pl.Expr, low: pl.Expr) -> pl.Expr:
    return ta.medprice(high, low)
