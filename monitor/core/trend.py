"""The trend machine: neutral, bullish or bearish, moved only by real bars of one kind in a row.

It is the confirmation machine fed with bar classes. A *machine* that starts mid-history is given what it was before:
it never invents neutral.
"""

from enum import StrEnum

import polars as pl

from monitor.core import confirm
from monitor.core.classify import BarClass, Method
from monitor.core.confirm import Confirmed, Needed


class TrendState(StrEnum):
    """Where the trend stands."""

    NEUTRAL = "neutral"
    BULLISH = "bullish"
    BEARISH = "bearish"


STATES = {1: TrendState.BULLISH, -1: TrendState.BEARISH, 0: TrendState.NEUTRAL}
_SIGNS = {BarClass.REAL_BULL: 1, BarClass.REAL_BEAR: -1, BarClass.FAKE: 0, BarClass.UNCLASSIFIED: 0}


def step(method: Method, machine: Confirmed, bar: BarClass) -> Confirmed:
    """The machine after one more bar."""
    needed = Needed(method.confirmation, method.confirmation, method.fakes)
    return confirm.step(needed, machine, _SIGNS[bar])


def run(signs: pl.LazyFrame, method: Method, machines: pl.LazyFrame) -> pl.LazyFrame:
    """The machine after each bar of many symbols.

    Shape: `signs` has `symbol` (sorted) and the Int8 `sign` of classify.sign; `machines` has `symbol`, `state`, `kind`,
    `run` before the first of these bars; a symbol without a row starts neutral. Adds `state`, `kind`, `run`, and
    `state_before`; keeps the order of rows.
    """
    before = machines.select("symbol", state0="state", kind0="kind", run0="run")
    frame = signs.join(before, on="symbol", how="left", maintain_order="left").with_columns(
        pl.col("sign", "state0", "kind0").fill_null(0).cast(pl.Int8),
        pl.col("run0").fill_null(0),
        rise=method.confirmation,
        fall=method.confirmation,
    )
    return confirm.run(frame, "symbol", method.fakes).drop("state0", "kind0", "run0", "rise", "fall")


def is_early_warning() -> pl.Expr:
    """Where a single real bar stands against the trend without having turned it, in a frame that `run` gave."""
    return (pl.col("sign") != 0) & (pl.col("sign") == -pl.col("state")) & (pl.col("run") == 1)


def named(state: pl.Expr) -> pl.Expr:
    """The TrendState of a sign, as text; null stays null."""
    return state.replace_strict(STATES, default=None, return_dtype=pl.String)
