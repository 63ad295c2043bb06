"""Larger bars made of smaller ones.

A *grid* says which larger bars there are: their labels and when each closes. A smaller bar belongs to the newest label
not after its own, unless it closes later than the larger bar does: then it is off the session, and left out.
"""

import polars as pl

from monitor.core.bars import RAW_SCHEMA


def resample(bars: pl.DataFrame, grid: pl.DataFrame) -> pl.DataFrame:
    """The larger bars that have at least one smaller one; the volume is null where none of its bars has one.

    Shape: `bars` has `BAR_SCHEMA`, of one market, sorted by symbol and ts; `grid` has label and closed_at, in order.
    """
    if grid.is_empty():
        return pl.DataFrame(schema=RAW_SCHEMA)
    belongs = grid["label"].search_sorted(bars["ts"], side="right").cast(pl.Int64) - 1
    larger = grid[belongs.clip(0)]
    within = (belongs >= 0) & (bars["closed_at"] <= larger["closed_at"])
    return (
        bars.with_columns(larger["label"].alias("ts"))
        .filter(within)
        .group_by("symbol", "ts", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.when(pl.col("volume").count() > 0).then(pl.col("volume").sum()).alias("volume"),
        )
        .select(*RAW_SCHEMA)
    )
