"""A folder of bar files as another program leaves it."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import BarError, BarwatchError, ProviderError, UnknownSymbol
from monitor.providers.files import FilesProvider, symbols_in

DAILY = TIMEFRAMES["1d"]
NOW = datetime(2025, 11, 26, 22, 0, tzinfo=UTC)
BARS = "Date,Open,High,Low,Close,Volume\n2025-11-25,10,13,9,12,100\n2025-11-26,12,14,11,13,200\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "1d").mkdir()
    return tmp_path


def write(folder: Path, name: str, text: str = BARS, written: datetime = NOW - timedelta(hours=2)) -> Path:
    path = folder / "1d" / name
    path.write_text(text)
    os.utime(path, (written.timestamp(), written.timestamp()))
    return path


def failure(folder: Path, symbol: str, now: datetime = NOW) -> BarwatchError:
    fetched = FilesProvider(folder).fetch({symbol: None}, DAILY, now)
    assert fetched.as_of == {}
    return fetched.failures[symbol]


def test_bars_are_known_as_of_the_writing_of_their_file_however_late_it_is_read(folder):
    written = datetime(2025, 11, 26, 16, 30, tzinfo=UTC)
    write(folder, "AAPL.csv", written=written)
    provider = FilesProvider(folder)
    assert provider.fetch({"AAPL": None}, DAILY, NOW).as_of == {"AAPL": written}
    assert provider.fetch({"AAPL": None}, DAILY, NOW + timedelta(days=30)).as_of == {"AAPL": written}


def test_bars_are_never_known_later_than_now(folder):
    write(folder, "AAPL.csv", written=NOW + timedelta(hours=1))
    assert FilesProvider(folder).fetch({"AAPL": None}, DAILY, NOW).as_of == {"AAPL": NOW}


def test_a_file_written_again_is_read_again(folder):
    write(folder, "AAPL.csv")
    provider = FilesProvider(folder)
    provider.fetch({"AAPL": None}, DAILY, NOW)
    write(folder, "AAPL.csv", BARS.replace("13,200", "13.5,250"), NOW - timedelta(hours=1))
    fetched = provider.fetch({"AAPL": None}, DAILY, NOW)
    assert fetched.bars["close"].to_list() == [12.0, 13.5]
    assert fetched.as_of == {"AAPL": NOW - timedelta(hours=1)}


def test_a_symbol_with_two_files_fails_and_names_both(folder):
    write(folder, "AAPL.csv")
    pl.DataFrame({"Date": []}).write_parquet(folder / "1d" / "AAPL.parquet")
    message = str(failure(folder, "AAPL"))
    assert "AAPL.csv" in message
    assert "AAPL.parquet" in message


def test_an_unknown_symbol_is_told_where_it_was_looked_for_and_the_nearest_name(folder):
    write(folder, "AAPL.csv")
    error = failure(folder, "aapl")
    assert isinstance(error, UnknownSymbol)
    assert str(folder / "1d") in error.message
    assert "neither aapl.csv nor aapl.parquet" in error.message
    assert error.hint == "did you mean 'AAPL'?"


def test_an_unknown_symbol_like_no_other_is_told_what_there_is(folder):
    write(folder, "AAPL.csv")
    assert failure(folder, "ZZZ").hint == "it has AAPL"


def test_a_missing_folder_says_that_no_bar_file_is_there(tmp_path):
    assert failure(tmp_path / "nowhere", "AAPL").hint == "no bar file is there"


@pytest.mark.parametrize("symbol", ["../1d/AAPL", "BTC/USD", "", "."])
def test_a_symbol_never_leads_out_of_its_folder(folder, symbol):
    write(folder, "AAPL.csv")
    assert isinstance(failure(folder, symbol), UnknownSymbol)


def test_a_symbol_too_long_for_a_file_name_fails_alone(folder):
    assert isinstance(failure(folder, "A" * 5000), ProviderError)


def test_a_bad_file_fails_alone(folder):
    write(folder, "AAPL.csv")
    write(folder, "MSFT.csv", BARS + "2025-11-27,5,4,5,5,1\n")
    fetched = FilesProvider(folder).fetch({"MSFT": None, "AAPL": None}, DAILY, NOW)
    assert fetched.bars["symbol"].unique().to_list() == ["AAPL"]
    assert isinstance(fetched.failures["MSFT"], BarError)


def test_a_file_just_written_without_a_last_line_end_waits_for_the_next_poll(folder):
    torn = BARS.rstrip("\n")[:-2]
    write(folder, "AAPL.csv", torn, NOW - timedelta(seconds=1))
    assert "was being written" in str(failure(folder, "AAPL"))
    assert FilesProvider(folder).fetch({"AAPL": None}, DAILY, NOW + timedelta(minutes=1)).failures == {}


def test_a_file_just_written_to_its_last_line_end_is_read(folder):
    write(folder, "AAPL.csv", BARS, NOW - timedelta(seconds=1))
    assert FilesProvider(folder).fetch({"AAPL": None}, DAILY, NOW).bars.height == 2


def test_intraday_times_without_a_zone_are_of_the_zone_given(tmp_path):
    (tmp_path / "1h").mkdir()
    (tmp_path / "1h" / "AAPL.csv").write_text("time,open,high,low,close\n2025-11-26 09:30,10,13,9,12\n")
    fetched = FilesProvider(tmp_path, "America/New_York").fetch({"AAPL": None}, TIMEFRAMES["1h"], NOW)
    assert fetched.bars["ts"].to_list() == [datetime(2025, 11, 26, 14, 30, tzinfo=UTC)]


def test_the_symbols_of_a_folder_are_those_with_a_bar_file(folder):
    for name in ("MSFT.csv", "AAPL.csv", "AAPL.parquet", "^GSPC.csv", "notes.txt"):
        write(folder, name)
    assert symbols_in(folder, DAILY) == ["AAPL", "MSFT", "^GSPC"]
    assert symbols_in(folder, TIMEFRAMES["1h"]) == []
