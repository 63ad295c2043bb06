"""Volatility: how wide prices swing, and the bands and stops made of it."""

# mypy: disable-error-code="no-any-return"
# polars_talib leaves some of its functions without types.

import polars as pl
import polars_talib as ta

from monitor.core.indicators.registry import ANCHORED, Dense, Length, Length2, Multiple, exponential, indicator, wilder

_BANDS = ("upper", "middle", "lower")


def _window(length: int, *_: float) -> int:
    return length - 1


@indicator("True range: the bar's range, widened to the close before.", unit="price", lookback=lambda: 1)
def trange(high: pl.Expr, low: pl.Expr, close: pl.Expr) -> pl.Expr:
    return ta.trange(high, low, close)


@indicator(
    "Average true range: Wilder's mean of the true range.",
    unit="price", lookback=lambda length: length, smoothing=wilder,
)  # fmt: skip
def atr(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length = 14) -> pl.Expr:
    return ta.atr(high, low, close, length)


@indicator(
    "Normalised average true range: 100 atr / close.",
    unit="%", lookback=lambda length: length, smoothing=wilder,
)  # fmt: skip
def natr(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length = 14) -> pl.Expr:
    return ta.natr(high, low, close, length)


@indicator("Average day range: the mean of high − low of n bars.", unit="price", lookback=_window)
def adr(high: pl.Expr, low: pl.Expr, length: Length = 14) -> pl.Expr:
    return ta.adr(high, low, length)


@indicator("Standard deviation of the last n values, divided by n.", unit="as x", lookback=_window)
def stddev(x: Dense, length: Length2 = 5) -> pl.Expr:
    return ta.stddev(x, length)


@indicator("Variance of the last n values, divided by n.", unit="x squared", lookback=_window)
def var(x: Dense, length: Length = 5) -> pl.Expr:
    return ta.var(x, length)


@indicator("Bollinger bands: sma(n) ± `multiple` standard deviations.", unit="as x", outputs=_BANDS, lookback=_window)
def bbands(x: Dense, length: Length2 = 20, multiple: Multiple = 2) -> pl.Expr:
    return ta.bbands(x, length, multiple, multiple)


@indicator("Width of the Bollinger bands: (upper − lower) / middle.", unit="share", lookback=_window, source="Barwatch")
def bb_width(x: Dense, length: Length2 = 20, multiple: Multiple = 2) -> pl.Expr:
    return 2 * multiple * ta.stddev(x, length) / ta.sma(x, length)


@indicator(
    "Place in the Bollinger bands: (x − lower) / (upper − lower); 0 at the lower, 1 at the upper.",
    unit="share", lookback=_window, source="Barwatch",
)  # fmt: skip
def bb_percent(x: Dense, length: Length2 = 20, multiple: Multiple = 2) -> pl.Expr:
    return (x - ta.sma(x, length)) / (2 * multiple * ta.stddev(x, length)) + 0.5


@indicator(
    "Keltner channel: ema(n) of the close ± `multiple` average true ranges.",
    unit="price", outputs=_BANDS, lookback=lambda length, atr, multiple: max(length - 1, atr),
    smoothing=lambda length, atr, multiple: min(exponential(length), wilder(atr)),
)  # fmt: skip
def kc(
    high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 20, atr: Length = 10, multiple: Multiple = 2
) -> pl.Expr:
    return ta.kc(high, low, close, length, atr, multiple)


@indicator(
    "Donchian channel: the highest high and the lowest low of n bars, this one included, and their middle.",
    unit="price", outputs=_BANDS, lookback=_window,
)  # fmt: skip
def donchian(high: pl.Expr, low: pl.Expr, length: Length2 = 20) -> pl.Expr:
    return ta.donchian(high, low, length)


@indicator(
    "Acceleration bands: means of highs and lows pushed out by their relative range, and sma(close).",
    unit="price", outputs=_BANDS, lookback=_window,
)  # fmt: skip
def accbands(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 20) -> pl.Expr:
    return ta.accbands(high, low, close, length)


@indicator(
    "Mass index: Σ over `slow` bars of ema(high − low) / ema(ema(high − low)).",
    unit="number", lookback=lambda fast, slow: 2 * (fast - 1) + slow - 1,
    smoothing=lambda fast, slow: exponential(fast),
)  # fmt: skip
def massi(high: pl.Expr, low: pl.Expr, fast: Length2 = 9, slow: Length2 = 25) -> pl.Expr:
    return ta.massi(high, low, fast, slow)


@indicator(
    "Chaikin volatility: the rate of change over `change` bars of ema(high − low).",
    unit="%", lookback=lambda length, change: length - 1 + change, smoothing=lambda length, change: exponential(length),
)  # fmt: skip
def cvi(high: pl.Expr, low: pl.Expr, length: Length2 = 10, change: Length = 10) -> pl.Expr:
    return ta.cvi(high, low, length, change)


@indicator(
    "Supertrend: a stop `multiple` average true ranges off; direction 1 above it, −1 below. From the first stored bar.",
    unit="price; direction ±1", outputs=("line", "direction"), lookback=lambda length, multiple: length,
    smoothing=ANCHORED,
)  # fmt: skip
def supertrend(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 10, multiple: Multiple = 3) -> pl.Expr:
    warming_up = pl.field("trend").replace(0, None)
    return ta.supertrend(high, low, close, length, multiple).struct.with_fields(warming_up)


@indicator(
    "Parabolic stop and reverse: a stop that speeds up with each new extreme. From the first stored bar.",
    unit="price", lookback=lambda step, most: 1, smoothing=ANCHORED,
)  # fmt: skip
def sar(high: pl.Expr, low: pl.Expr, step: Multiple = 0.02, most: Multiple = 0.2) -> pl.Expr:
    return ta.sar(high, low, step, most)
