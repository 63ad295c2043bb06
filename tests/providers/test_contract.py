"""What every provider keeps to. Each is given the same bars: New York, the newest still forming at `NOW`."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from monitor.core.bars import BAR_SCHEMA, RAW_SCHEMA, violations
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import UnknownSymbol
from monitor.ports import Provider
from monitor.providers.files import FilesProvider
from monitor.providers.replay import ReplayProvider

DAILY = TIMEFRAMES["1d"]
NOW = datetime(2025, 11, 26, 20, 30, tzinfo=UTC)
CLOSES = {
    datetime(2025, 11, 24, tzinfo=UTC): datetime(2025, 11, 24, 21, tzinfo=UTC),
    datetime(2025, 11, 25, tzinfo=UTC): datetime(2025, 11, 25, 21, tzinfo=UTC),
    datetime(2025, 11, 26, tzinfo=UTC): datetime(2025, 11, 26, 21, tzinfo=UTC),
}
FORMING = datetime(2025, 11, 26, tzinfo=UTC)
BARS = pl.DataFrame(
    [
        (symbol, ts, closed_at, first + n, first + n + 2.0, first + n - 1.0, first + n + 1.0, 1000.0 * n)
        for symbol, first in (("AAPL", 100.0), ("MSFT", 400.0), ("^GSPC", 6000.0))
        for n, (ts, closed_at) in enumerate(CLOSES.items())
    ],
    BAR_SCHEMA,
    orient="row",
)
SYMBOLS = ["AAPL", "MSFT", "^GSPC"]


def _folder(path: Path, write: Callable[[pl.DataFrame, Path], None], suffix: str) -> FilesProvider:
    (path / "1d").mkdir()
    for (symbol,), bars in BARS.group_by("symbol"):
        file = path / "1d" / f"{symbol}{suffix}"
        write(bars.sort("ts").select(pl.col("ts").alias("Date"), "open", "high", "low", "close", "volume"), file)
        os.utime(file, (NOW.timestamp() - 60, NOW.timestamp() - 60))
    return FilesProvider(path)


PROVIDERS: dict[str, Callable[[Path], Provider]] = {
    "files, csv": lambda path: _folder(path, pl.DataFrame.write_csv, ".csv"),
    "files, parquet": lambda path: _folder(path, pl.DataFrame.write_parquet, ".parquet"),
    "replay": lambda _: ReplayProvider({"1d": BARS.reverse()}),
}


@pytest.fixture(params=PROVIDERS.values(), ids=PROVIDERS)
def provider(request, tmp_path) -> Provider:
    return request.param(tmp_path)


def test_it_has_a_name(provider):
    assert provider.name


def test_every_symbol_asked_for_is_known_or_has_failed(provider):
    fetched = provider.fetch(dict.fromkeys([*SYMBOLS, "NONE", "../AAPL", ""]), DAILY, NOW)
    assert set(fetched.as_of) == set(SYMBOLS)
    assert set(fetched.failures) == {"NONE", "../AAPL", ""}


def test_bars_are_sound_sorted_and_raw(provider):
    bars = provider.fetch(dict.fromkeys(reversed(SYMBOLS)), DAILY, NOW).bars
    assert bars.schema == RAW_SCHEMA
    assert violations(bars) == []
    assert bars.equals(bars.sort("symbol", "ts"))
    assert set(bars["symbol"]) == set(SYMBOLS)


def test_closed_bars_are_given_as_they_are(provider):
    bars = provider.fetch(dict.fromkeys(SYMBOLS), DAILY, NOW).bars
    expected = BARS.filter(pl.col("ts") < FORMING).select(*RAW_SCHEMA)
    assert bars.filter(pl.col("ts") < FORMING).equals(expected)


def test_a_forming_bar_can_be_told_by_as_of(provider):
    fetched = provider.fetch(dict.fromkeys(SYMBOLS), DAILY, NOW)
    for symbol, ts in fetched.bars.select("symbol", "ts").iter_rows():
        assert (CLOSES[ts] <= fetched.as_of[symbol]) == (ts < FORMING)


def test_nothing_is_known_later_than_now(provider):
    assert all(known <= NOW for known in provider.fetch(dict.fromkeys(SYMBOLS), DAILY, NOW).as_of.values())


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(microseconds=1)])
def test_since_is_inclusive_and_of_each_symbol(provider, offset):
    monday, tuesday = list(CLOSES)[:2]
    fetched = provider.fetch({"AAPL": tuesday + offset, "MSFT": monday, "^GSPC": None}, DAILY, NOW)
    first = dict(fetched.bars.group_by("symbol").agg(pl.col("ts").min()).iter_rows())
    assert first["MSFT"] == first["^GSPC"] == monday
    assert (first.get("AAPL") == tuesday) == (not offset)


def test_a_since_after_all_bars_gives_none_and_no_failure(provider):
    fetched = provider.fetch({"AAPL": NOW + timedelta(days=9)}, DAILY, NOW)
    assert fetched.bars.is_empty()
    assert fetched.bars.schema == RAW_SCHEMA
    assert (set(fetched.as_of), fetched.failures) == ({"AAPL"}, {})


def test_an_unknown_symbol_hides_no_others_bars(provider):
    fetched = provider.fetch({"NONE": None, "AAPL": None}, DAILY, NOW)
    assert isinstance(fetched.failures["NONE"], UnknownSymbol)
    assert set(fetched.bars["symbol"]) == {"AAPL"}


def test_an_unknown_timeframe_fails_each_symbol(provider):
    fetched = provider.fetch(dict.fromkeys(SYMBOLS), TIMEFRAMES["5m"], NOW)
    assert {type(failure) for failure in fetched.failures.values()} == {UnknownSymbol}
    assert fetched.bars.is_empty()


def test_asked_for_nothing_it_gives_an_empty_frame(provider):
    fetched = provider.fetch({}, DAILY, NOW)
    assert (fetched.bars.schema, fetched.bars.height, fetched.as_of, fetched.failures) == (RAW_SCHEMA, 0, {}, {})


def test_the_same_call_twice_gives_the_same(provider):
    first, second = (provider.fetch(dict.fromkeys(SYMBOLS), DAILY, NOW) for _ in range(2))
    assert first.bars.equals(second.bars)
    assert first.as_of == second.as_of
