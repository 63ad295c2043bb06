"""The yahoo provider keeps to what every provider keeps to."""

import polars as pl
import pytest

from monitor.core.bars import RAW_SCHEMA
from monitor.providers.yahoo import YahooProvider
from tests.providers.test_contract import *  # noqa: F403  # its tests run here, with the provider below
from tests.providers.test_contract import DAILY, FORMING, NOW, STOCKS


@pytest.fixture
def world():
    return STOCKS


@pytest.fixture
def provider(yahoo, fresh_yfinance, tmp_path):
    for (symbol,), bars in STOCKS.bars.group_by("symbol", maintain_order=True):
        yahoo.market.add(symbol, bars={"1d": bars.drop("symbol", "closed_at")})
    yahoo.market.at(NOW)
    opened = YahooProvider(tmp_path / "cache", requests_per_second=1000)
    yield opened
    opened.close()


def test_closed_bars_are_given_as_they_are(provider, world):
    """But for a volume of 0, which is Yahoo's word for an unknown one."""
    bars = provider.fetch(dict.fromkeys(world.symbols), DAILY, NOW).bars
    closed = world.bars.filter(pl.col("ts") < FORMING).select(*RAW_SCHEMA)
    expected = closed.with_columns(pl.col("volume").replace(0.0, None))
    assert bars.filter(pl.col("ts") < FORMING).equals(expected)
