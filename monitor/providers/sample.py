"""Sample bars: real daily prices that come in a wheel, for a demonstration without a network."""

import gzip
from importlib.resources import files

import polars as pl

from monitor.core.adjust import find_splits, undo_splits
from monitor.core.bars import INSTANT, PRICES, RAW_SCHEMA
from monitor.errors import InputError


def sample_bars() -> pl.DataFrame:
    """Daily bars of AAPL, FB, GOOG, IBM and MSFT from 2000-03-01 to 2013-03-01, adjusted for splits.

    Shape: RAW_SCHEMA, sound, sorted.
    Source: the stocks file of bokeh_sampledata, which has unadjusted prices.
    Raises: InputError when that package is not installed.
    """
    try:
        content = (files("bokeh_sampledata") / "_data" / "stocks.csv.gz").read_bytes()
    except ImportError as error:
        raise InputError("the sample bars are not installed", "pip install 'barwatch[demo]'") from error
    table = pl.read_csv(gzip.decompress(content), schema_overrides=dict.fromkeys(map(str.title, PRICES), pl.Float64))
    bars = table.select(
        pl.col("Ticker").alias("symbol"),
        pl.col("Date").str.to_datetime("%Y-%m-%d", time_zone="UTC").cast(INSTANT).alias("ts"),
        *(pl.col(price.title()).alias(price) for price in PRICES),
        pl.col("Volume").cast(pl.Float64).alias("volume"),
        pl.col("Adj Close").alias("adjusted"),
    )
    symbols = bars.sort("symbol", "ts").partition_by("symbol", maintain_order=True)
    return pl.concat(undo_splits(one, find_splits(one)) for one in symbols).select(*RAW_SCHEMA)
