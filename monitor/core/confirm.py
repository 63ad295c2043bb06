"""Confirmation: a state that only a run of equal signs can move. The trend and the debounce of checks are this machine.

A *sign* is +1, −1 or 0 (a fake bar, or an unknown value). A *run* is a row of equal signs without an opposite one
between them; a zero either leaves it alone or breaks it. When the run is long enough its sign becomes the state. The
machine exists twice: `step` takes one sign, `run` a whole column of many series at once.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The machine after a bar: the confirmed sign, the sign of the run under way, and the length of that run."""

    state: int = 0
    kind: int = 0
    run: int = 0


@dataclass(frozen=True, slots=True)
class Needed:
    """How long a run must be to make the state +1 or −1, and what a zero does to a run."""

    rise: int
    fall: int
    zeros: Literal["ignore", "break"]


def step(needed: Needed, machine: Confirmed, sign: int) -> Confirmed:
    """The machine after one more sign."""
    if sign == 0:
        return machine if needed.zeros == "ignore" else Confirmed(machine.state)
    length = machine.run + 1 if sign == machine.kind else 1
    enough = length >= (needed.rise if sign > 0 else needed.fall)
    return Confirmed(sign if enough else machine.state, sign, length)


def run(frame: pl.LazyFrame, series: str, zeros: Literal["ignore", "break"]) -> pl.LazyFrame:
    """The machine after each row, for many series at once.

    Shape: sorted by `series`; Int8 `sign` without nulls; `rise`, `fall` (lengths needed); `state0`, `kind0`, `run0`
    (the machine before the first row of the series, the same on each of its rows). Adds `state`, `kind`, `run`,
    and `state_before`, the state before the row.
    The rows of one series stand together, so each column below is filled forward from a value set at the first row.
    """
    first = (pl.col(series) != pl.col(series).shift(1)).fill_null(value=True)
    moves = pl.col("sign") != 0
    sign = pl.col("sign")
    kind = pl.when(moves).then(sign).when(first).then(pl.col("kind0")).forward_fill() if zeros == "ignore" else sign
    frame = frame.with_columns(first.alias("_first"), kind.cast(pl.Int8).alias("kind"))
    before = pl.when("_first").then(pl.col("kind0")).otherwise(pl.col("kind").shift(1))
    move = moves.cast(pl.Int32)
    frame = frame.with_columns((pl.col("kind") != before).alias("_turn"), move.cum_sum().alias("_moves"))
    counted_before = pl.when(pl.col("_turn") | pl.col("_first")).then(pl.col("_moves") - move)
    carried = pl.when("_turn").then(0).when("_first").then(pl.col("run0"))
    length = pl.col("_moves") - counted_before.forward_fill() + carried.forward_fill()
    frame = frame.with_columns(length.cast(pl.Int32).alias("run"))
    enough = pl.col("run") >= pl.when(pl.col("kind") > 0).then(pl.col("rise")).otherwise(pl.col("fall"))
    state = (
        pl.when(enough & (pl.col("kind") != 0))
        .then(pl.col("kind"))
        .when("_first")
        .then(pl.col("state0"))
        .forward_fill()
        .cast(pl.Int8)
    )
    frame = frame.with_columns(state.alias("state"))
    state_before = pl.when("_first").then(pl.col("state0")).otherwise(pl.col("state").shift(1))
    return frame.with_columns(state_before.alias("state_before")).drop("_first", "_turn", "_moves")
