"""Momentum: how fast, how far and how steadily prices go."""

import polars as pl
import polars_talib as ta

from monitor.core.indicators.registry import Dense, Length, Length2, exponential, indicator, wilder


def _slower(fast: int, slow: int, *_: int) -> float:
    return exponential(max(fast, slow))


@indicator(
    "Relative strength index: 100 − 100 / (1 + mean rise / mean fall), means by Wilder.",
    unit="0–100", lookback=lambda length: length, smoothing=wilder,
)  # fmt: skip
def rsi(x: Dense, length: Length2 = 14) -> pl.Expr:
    return ta.rsi(x, length)


@indicator(
    "Moving average convergence/divergence: ema(fast) − ema(slow), its ema, and the difference of the two.",
    unit="as x", outputs=("macd", "signal", "hist"),
    lookback=lambda fast, slow, signal: max(fast, slow) - 1 + signal - 1,
    smoothing=lambda fast, slow, signal: exponential(max(fast, slow, signal)),
)  # fmt: skip
def macd(x: Dense, fast: Length2 = 12, slow: Length2 = 26, signal: Length = 9) -> pl.Expr:
    return ta.macd(x, fast, slow, signal)


@indicator(
    "Absolute price oscillator: ema(fast) − ema(slow).",
    unit="as x", lookback=lambda fast, slow: max(fast, slow) - 1, smoothing=_slower,
)  # fmt: skip
def apo(x: Dense, fast: Length2 = 12, slow: Length2 = 26) -> pl.Expr:
    return ta.apo(x, fast, slow)


@indicator(
    "Percentage price oscillator: 100 (ema(fast) − ema(slow)) / ema(slow).",
    unit="%", lookback=lambda fast, slow: max(fast, slow) - 1, smoothing=_slower,
)  # fmt: skip
def ppo(x: Dense, fast: Length2 = 12, slow: Length2 = 26) -> pl.Expr:
    return ta.ppo(x, fast, slow)


@indicator("Momentum: the value − the value n bars before.", unit="as x", lookback=lambda length: length)
def mom(x: Dense, length: Length = 10) -> pl.Expr:
    return ta.mom(x, length)


@indicator("Rate of change: 100 (value / value n bars before − 1).", unit="%", lookback=lambda length: length)
def roc(x: Dense, length: Length = 10) -> pl.Expr:
    return ta.roc(x, length)


@indicator(
    "Chande momentum oscillator: 100 (rises − falls) / (rises + falls), means by Wilder.",
    unit="−100–100", lookback=lambda length: length, smoothing=wilder,
)  # fmt: skip
def cmo(x: Dense, length: Length2 = 14) -> pl.Expr:
    return ta.cmo(x, length)


@indicator(
    "One-bar rate of change of a triple exponential average.",
    unit="%", lookback=lambda length: 3 * (length - 1) + 1, smoothing=exponential,
)  # fmt: skip
def trix(x: Dense, length: Length = 30) -> pl.Expr:
    return ta.trix(x, length)


@indicator(
    "True strength index: 100 × the twice smoothed change / the twice smoothed size of the change.",
    unit="−100–100", lookback=lambda slow, fast: slow + fast - 1, smoothing=_slower,
)  # fmt: skip
def tsi(x: Dense, slow: Length2 = 25, fast: Length2 = 13) -> pl.Expr:
    return ta.tsi(x, slow, fast)


@indicator(
    "Coppock curve: a weighted average of two rates of change added.",
    unit="%", lookback=lambda length, short, long: max(short, long) + length - 1,
)  # fmt: skip
def coppock(x: Dense, length: Length = 10, short: Length = 11, long: Length = 14) -> pl.Expr:
    return ta.coppock(x, length, short, long)


@indicator(
    "Kaufman's efficiency ratio: the way made / the way gone in n bars.", unit="0–1", lookback=lambda length: length
)
def er(x: Dense, length: Length2 = 10) -> pl.Expr:
    return ta.er(x, length)


@indicator(
    "Stochastic oscillator: where the close stands in the range of n bars; k is its mean, d the mean of k.",
    unit="0–100", outputs=("k", "d"), lookback=lambda length, k, d: length - 1 + k - 1 + d - 1,
)  # fmt: skip
def stoch(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length = 14, k: Length = 3, d: Length = 3) -> pl.Expr:
    return ta.stoch(high, low, close, fastk_period=length, slowk_period=k, slowd_period=d)


@indicator(
    "Fast stochastic oscillator: k is where the close stands in the range of n bars, d the mean of k.",
    unit="0–100", outputs=("k", "d"), lookback=lambda length, d: length - 1 + d - 1,
)  # fmt: skip
def stochf(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length = 14, d: Length = 3) -> pl.Expr:
    return ta.stochf(high, low, close, fastk_period=length, fastd_period=d)


@indicator(
    "Stochastic of the rsi: k is where the rsi stands in its range of `stochastic` bars, d the mean of k.",
    unit="0–100", outputs=("k", "d"), lookback=lambda length, stochastic, d: length + stochastic - 1 + d - 1,
    smoothing=lambda length, *_: wilder(length),
)  # fmt: skip
def stochrsi(x: Dense, length: Length2 = 14, stochastic: Length = 14, d: Length = 3) -> pl.Expr:
    return ta.stochrsi(x, length, stochastic, d)


@indicator(
    "Williams' %R: how far below the highest high of n bars the close stands, in parts of their range.",
    unit="−100–0", lookback=lambda length: length - 1,
)  # fmt: skip
def willr(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.willr(high, low, close, length)


@indicator(
    "Commodity channel index: typical price − its mean, in 0.015 of its mean deviation.",
    unit="number", lookback=lambda length: length - 1,
)  # fmt: skip
def cci(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.cci(high, low, close, length)


@indicator(
    "Average directional index: Wilder's mean of 100 |DI+ − DI−| / (DI+ + DI−); how strong a trend is.",
    unit="0–100", lookback=lambda length: 2 * length - 1, smoothing=wilder,
)  # fmt: skip
def adx(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.adx(high, low, close, length)


@indicator(
    "Average directional index rating: the mean of adx and the adx n − 1 bars before.",
    unit="0–100", lookback=lambda length: 3 * length - 2, smoothing=wilder,
)  # fmt: skip
def adxr(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.adxr(high, low, close, length)


@indicator(
    "Directional movement up: 100 × smoothed rise of the highs / smoothed true range.",
    unit="0–100", lookback=lambda length: length, smoothing=wilder,
)  # fmt: skip
def plus_di(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.plus_di(high, low, close, length)


@indicator(
    "Directional movement down: 100 × smoothed fall of the lows / smoothed true range.",
    unit="0–100", lookback=lambda length: length, smoothing=wilder,
)  # fmt: skip
def minus_di(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.minus_di(high, low, close, length)


@indicator(
    "Aroon: how recent the highest high (up) and the lowest low (down) of n bars are.",
    unit="0–100", outputs=("down", "up"), lookback=lambda length: length,
)  # fmt: skip
def aroon(high: pl.Expr, low: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.aroon(high, low, length)


@indicator("Aroon oscillator: aroon up − aroon down.", unit="−100–100", lookback=lambda length: length)
def aroonosc(high: pl.Expr, low: pl.Expr, length: Length2 = 14) -> pl.Expr:
    return ta.aroonosc(high, low, length)


@indicator(
    "Vortex: movement up and movement down of n bars, each / their true range.",
    unit="number", outputs=("plus", "minus"), lookback=lambda length: length,
)  # fmt: skip
def vortex(high: pl.Expr, low: pl.Expr, close: pl.Expr, length: Length = 14) -> pl.Expr:
    return ta.vortex(high, low, close, length)


@indicator("Balance of power: (close − open) / (high − low).", unit="−1–1", lookback=lambda: 0)
def bop(open: pl.Expr, high: pl.Expr, low: pl.Expr, close: pl.Expr) -> pl.Expr:  # noqa: A002  the column is called so
    return ta.bop(open, high, low, close)


@indicator(
    "Ultimate oscillator: buying pressure / true range over three lengths, weighted 4 : 2 : 1.",
    unit="0–100", lookback=max,
)  # fmt: skip
def ultosc(
    high: pl.Expr, low: pl.Expr, close: pl.Expr, short: Length = 7, middle: Length = 14, long: Length = 28
) -> pl.Expr:
    return ta.ultosc(high, low, close, short, middle, long)


@indicator(
    "Awesome oscillator: sma(fast) − sma(slow) of the median price.",
    unit="price", lookback=lambda fast, slow: max(fast, slow) - 1,
)  # fmt: skip
def ao(high: pl.Expr, low: pl.Expr, fast: Length2 = 5, slow: Length2 = 34) -> pl.Expr:
    return ta.ao(high, low, fast, slow)
