"""`python -m benchmarks [--symbols N]`: each figure as a ratio to a peer on the same data in the same run.

The peers need the extra `dev`: TA-Lib called per symbol from Python, exchange_calendars, pandas, a bare Python process.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import talib

from monitor.core.bars import BAR_SCHEMA
from monitor.core.checks import Check
from monitor.core.classify import Method
from monitor.core.evaluate import Memory, Plan, evaluate
from monitor.core.expressions import parse_condition
from monitor.core.timeframe import TIMEFRAMES
from monitor.providers.barfile import read_bars
from monitor.sessions import Sessions

BARS = 500
DAY = TIMEFRAMES["1d"]
RNG = np.random.default_rng(7)

Prices = dict[str, np.ndarray]
Pair = tuple[np.ndarray | float, np.ndarray | float]

# A condition, and the two series of which TA-Lib's caller asks whether the first is above the second.
CONDITIONS: dict[str, Callable[[Prices], Pair]] = {
    f"rsi(close, {n}) < 30": lambda p, n=n: (30.0, talib.RSI(p["close"], n)) for n in (7, 14, 21)
} | {
    f"close > sma(close, {n})": lambda p, n=n: (p["close"], talib.SMA(p["close"], n)) for n in (10, 20, 50, 100)
} | {
    f"ema(close, {a}) > ema(close, {b})": lambda p, a=a, b=b: (talib.EMA(p["close"], a), talib.EMA(p["close"], b))
    for a, b in ((5, 10), (10, 20), (12, 26))
} | {
    "macd(close, 12, 26, 9).hist > 0": lambda p: (talib.MACD(p["close"], 12, 26, 9)[2], 0.0),
    "close > bbands(close, 20, 2).upper": lambda p: (p["close"], talib.BBANDS(p["close"], 20, 2, 2)[0]),
    "close < bbands(close, 20, 2).lower": lambda p: (talib.BBANDS(p["close"], 20, 2, 2)[2], p["close"]),
    "adx(14) > 25": lambda p: (talib.ADX(p["high"], p["low"], p["close"], 14), 25.0),
    "high - low > 2 * atr(14)": lambda p: (p["high"] - p["low"], 2 * talib.ATR(p["high"], p["low"], p["close"], 14)),
    "cci(20) > 100": lambda p: (talib.CCI(p["high"], p["low"], p["close"], 20), 100.0),
    "mfi(14) > 80": lambda p: (talib.MFI(p["high"], p["low"], p["close"], p["volume"], 14), 80.0),
    "volume > 2 * sma(volume, 20)": lambda p: (p["volume"], 2 * talib.SMA(p["volume"], 20)),
    "willr(14) > -20": lambda p: (talib.WILLR(p["high"], p["low"], p["close"], 14), -20.0),
    "roc(close, 10) > 5": lambda p: (talib.ROC(p["close"], 10), 5.0),
}  # fmt: skip


def universe(symbols: int) -> pl.DataFrame:
    """Random walks: so many symbols of `BARS` daily bars."""
    shape = (symbols, BARS)
    close = 100 * np.exp(np.cumsum(RNG.normal(0, 0.015, shape), axis=1))
    open_ = close * np.exp(RNG.normal(0, 0.005, shape))
    spread = np.abs(RNG.normal(0, 0.01, shape)) + 0.0005
    days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=i) for i in range(BARS)]
    frame = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{i:05d}" for i in range(symbols)], BARS),
            "ts": days * symbols,
            "open": open_.ravel(),
            "high": (np.maximum(open_, close) * (1 + spread)).ravel(),
            "low": (np.minimum(open_, close) * (1 - spread)).ravel(),
            "close": close.ravel(),
            "volume": RNG.lognormal(13, 0.6, shape).ravel(),
        }
    )
    return frame.with_columns(closed_at=pl.col("ts") + timedelta(hours=21)).select(*BAR_SCHEMA).cast(BAR_SCHEMA)


def best(runs: int, *ways: Callable[[], object]) -> list[float]:
    """The best of interleaved runs of each way, in seconds."""
    times = [[] for _ in ways]
    for _ in range(runs):
        for way, taken in zip(ways, times, strict=True):
            began = time.perf_counter()
            way()
            taken.append(time.perf_counter() - began)
    return [min(taken) for taken in times]


def evaluation(symbols: int, fresh: int) -> tuple[float, float]:
    """One cycle of 20 rising checks with a new bar for `fresh` of the symbols, and TA-Lib's loop over those symbols."""
    bars = universe(symbols)
    names = bars["symbol"].unique().sort().to_list()
    plan = Plan.of({Check(Method(), parse_condition(text)): names for text in CONDITIONS}, Method())
    newest = bars["ts"].max()
    memory = evaluate(bars.filter(pl.col("ts") < newest), plan, DAY, Memory()).memory
    due = bars.filter(pl.col("symbol").is_in(names[:fresh]))
    arrays = {
        str(symbol): {name: rows[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
        for (symbol,), rows in due.group_by("symbol")
    }

    def ours() -> set[tuple[str, str]]:
        found = evaluate(due, plan, DAY, memory).events
        digests = {check.digest: check.condition.source for check in plan.checks if check.condition}
        return {(event.symbol, digests[event.check_digest]) for event in found}

    def loop() -> set[tuple[str, str]]:
        fired = set()
        for symbol, prices in arrays.items():
            for text, pair in CONDITIONS.items():
                above = np.greater(*pair(prices))
                if above[-1] and not above[-2]:
                    fired.add((symbol, text))
        return fired

    if ours() != loop():
        raise SystemExit(f"the two ways disagree: {sorted(ours() ^ loop())[:5]}")
    mine, theirs = best(3, ours, loop)
    return mine, theirs


def reading() -> tuple[float, float]:
    """A CSV of 5,000 daily bars into a checked bar frame, and into a pandas frame with parsed dates."""
    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.csv"
        day = datetime(2006, 1, 1, tzinfo=UTC)
        rows = [f"{day + timedelta(days=i):%Y-%m-%d},{i + 1},{i + 2},{i + 0.5},{i + 1.5},{i}" for i in range(5000)]
        path.write_text("\n".join(["Date,Open,High,Low,Close,Volume", *rows]) + "\n")
        mine, theirs = best(10, lambda: read_bars(path, "X", DAY), lambda: pd.read_csv(path, parse_dates=["Date"]))
    return mine, theirs


def ending() -> tuple[float, float]:
    """The ends of a million bars of five minutes, and the same by exchange_calendars and numpy."""
    import pandas as pd
    from exchange_calendars import get_calendar

    length, first, last = TIMEFRAMES["5m"], date(1974, 1, 1), date(2026, 1, 1)
    known = Sessions("XNYS", first, last)
    calendar = get_calendar("XNYS", start=first.isoformat(), end=last.isoformat(), side="left")
    labels = known.grid(length, datetime(1974, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))["label"]
    minutes = pd.DatetimeIndex(labels.to_numpy()).tz_localize("UTC").as_unit("ns")

    def ours() -> np.ndarray:
        return known.closed_at(labels, length).to_numpy()

    def peer() -> np.ndarray:
        closes = calendar.closes.loc[calendar.minutes_to_sessions(minutes)]
        return np.minimum((minutes + length.length).to_numpy("M8[ns]"), closes.to_numpy("M8[ns]"))

    if not np.array_equal(ours(), peer()):
        raise SystemExit("the two ways disagree")
    mine, theirs = best(3, ours, peer)
    return mine, theirs


def starting(*words: str) -> tuple[float, float]:
    """A command from start to end, and a Python process that does nothing."""

    def process(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    command = process("-c", "from monitor.cli.app import main; main()", *words)
    mine, theirs = best(5, command, process("-c", "pass"))
    return mine, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=2000)
    symbols = parser.parse_args().symbols
    config = str(Path(__file__).parent.parent / "config.toml")
    figures = {
        f"cycle, 20 checks, {symbols} symbols x {BARS} bars, all new / TA-Lib loop": lambda: evaluation(
            symbols, symbols
        ),
        f"the same, {symbols // 100} symbols new / TA-Lib loop": lambda: evaluation(symbols, symbols // 100),
        "ends of 1 M bars of 5 minutes / exchange_calendars": ending,
        "read and check a CSV of 5,000 bars / pandas.read_csv": reading,
        "barwatch --help / python -c pass": lambda: starting("--help"),
        "barwatch validate / python -c pass": lambda: starting("validate", "--config", config),
    }
    print(f"{'':78} {'ours ms':>9} {'peer ms':>9} {'ratio':>7}")
    for name, measure in figures.items():
        mine, theirs = measure()
        print(f"{name:78} {mine * 1e3:9.1f} {theirs * 1e3:9.1f} {mine / theirs:7.2f}")


if __name__ == "__main__":
    main()
