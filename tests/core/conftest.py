"""Bars for the core's tests: real ones from a wheel, and random ones with many ties."""

import gzip
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import polars as pl
import pytest
from hypothesis import strategies as st

from monitor.core.bars import BAR_SCHEMA


@pytest.fixture(scope="session")
def real_bars() -> pl.DataFrame:
    """Daily bars of five shares, 2000 to 2013, as they were traded (splits and all)."""
    raw = gzip.decompress((files("bokeh_sampledata") / "_data" / "stocks.csv.gz").read_bytes())
    table = pl.read_csv(raw, try_parse_dates=True)
    label = pl.col("Date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    named = table.select(
        symbol="Ticker", ts=label, closed_at=label + timedelta(hours=21), open="Open", high="High", low="Low",
        close="Close", volume=pl.col("Volume").cast(pl.Float64),
    )  # fmt: skip
    return named.select(*BAR_SCHEMA).sort("symbol", "ts")


def frame(symbol: str, bars: list[tuple[float, ...]]) -> pl.DataFrame:
    """A bar frame of daily bars from (open, high, low, close, volume)."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        (symbol, start + timedelta(days=i), start + timedelta(days=i, hours=21), *bar) for i, bar in enumerate(bars)
    ]
    return pl.DataFrame(rows, BAR_SCHEMA, orient="row")


@st.composite
def bar(draw: st.DrawFn) -> tuple[float, ...]:
    """A sound bar of small whole prices, so that ties are common."""
    low, a, b, high = sorted(draw(st.lists(st.integers(1, 8), min_size=4, max_size=4)))
    up = draw(st.booleans())
    prices = (a, high, low, b) if up else (b, high, low, a)
    return (*map(float, prices), float(draw(st.integers(0, 5))))
