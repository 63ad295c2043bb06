"""Volume: what was traded, and whether it was bought or sold. Unknown for a symbol whose market has no volume."""

# mypy: disable-error-code="no-any-return"
# polars_talib leaves some of its functions without types.

import polars as pl
import polars_talib as ta

from monitor.core.indicators.registry import ANCHORED, Length, Length2, exponential, indicator


@indicator(
    "On-balance volume: volume added at a higher close, taken off at a lower. From the first stored bar.",
    unit="volume", lookback=lambda: 0, smoothing=ANCHORED,
)  # fmt: skip
def obv(close: pl.Expr, volume: pl.Expr) -> pl.Expr:
    return ta.obv(close, volume)


@indicator(
    "Accumulation/distribution: Σ volume · where the close stands in its bar, −1 to 1. From the first stored bar.",
    unit="volume", lookback=lambda: 0, smoothing=ANCHORED,
)  # fmt: skip
def ad(high: pl.Expr, low: pl.Expr, close: pl.Expr, volume: pl.Expr) -> pl.Expr:
    return ta.ad(high, low, close, volume)


@indicator(
    "Chaikin oscillator: ema(fast) − ema(slow) of accumulation/distribution.",
    unit="volume", lookback=lambda fast, slow: max(fast, slow) - 1,
    smoothing=lambda fast, slow: exponential(max(fast, slow)),
)  # fmt: skip
def adosc(
    high: pl.Expr, low: pl.Expr, close: pl.Expr, volume: pl.Expr, fast: Length2 = 3, slow: Length2 = 10
) -> pl.Expr:
    return ta.adosc(high, low, close, volume, fast, slow)


@indicator(
    "Chaikin money flow: Σ volume · where the close stands in its bar / Σ volume, of n bars.",
    unit="−1–1", lookback=lambda length: length - 1,
)  # fmt: skip
def cmf(high: pl.Expr, low: pl.Expr, close: pl.Expr, volume: pl.Expr, length: Length2 = 20) -> pl.Expr:
    return ta.cmf(high, low, close, volume, length)


@indicator(
    "Money flow index: the rsi's form on typical price × volume, summed over n bars.",
    unit="0–100", lookback=lambda length: length,
)  # fmt: skip
def mfi(high: pl.Expr, low: pl.Expr, close: pl.Expr, volume: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.mfi(high, low, close, volume, length)


@indicator(
    "Elder's force index: ema of the close's change × volume.",
    unit="price × volume", lookback=lambda length: length, smoothing=exponential,
)  # fmt: skip
def efi(close: pl.Expr, volume: pl.Expr, length: Length = 13) -> pl.Expr:
    return ta.efi(close, volume, length)


@indicator(
    "Price-volume trend: Σ volume · relative change of the close. From the first stored bar.",
    unit="volume", lookback=lambda: 0, smoothing=ANCHORED,
)  # fmt: skip
def pvt(close: pl.Expr, volume: pl.Expr) -> pl.Expr:
    return ta.pvt(close, volume)


@indicator(
    "Negative volume index: the close's relative changes on bars of falling volume. From the first stored bar.",
    unit="index", lookback=lambda: 0, smoothing=ANCHORED,
)  # fmt: skip
def nvi(close: pl.Expr, volume: pl.Expr) -> pl.Expr:
    return ta.nvi(close, volume)


@indicator(
    "Positive volume index: the close's relative changes on bars of rising volume. From the first stored bar.",
    unit="index", lookback=lambda: 0, smoothing=ANCHORED,
)  # fmt: skip
def pvi(close: pl.Expr, volume: pl.Expr) -> pl.Expr:
    return ta.pvi(close, volume)


@indicator(
    "Percentage volume oscillator: 100 (ema(fast) − ema(slow)) / ema(slow) of volume.",
    unit="%", lookback=lambda fast, slow: max(fast, slow) - 1,
    smoothing=lambda fast, slow: exponential(max(fast, slow)),
)  # fmt: skip
def pvo(volume: pl.Expr, fast: Length2 = 12, slow: Length2 = 26) -> pl.Expr:
    return ta.pvo(volume, fast, slow)


@indicator(
    "Relative volume: volume / the mean volume of the n bars before it.",
    unit="number", lookback=lambda length: length,
)  # fmt: skip
def rvol(volume: pl.Expr, length: Length = 20) -> pl.Expr:
    return ta.rvol(volume, length)


@indicator(
    "Volume-weighted average price: Σ typical price · volume / Σ volume. From the first stored bar, not the session.",
    unit="price", lookback=lambda: 0, smoothing=ANCHORED,
)  # fmt: skip
def vwap(high: pl.Expr, low: pl.Expr, close: pl.Expr, volume: pl.Expr) -> pl.Expr:
    return ta.vwap(high, low, close, volume)
