"""The sample bars against the public record of these shares."""

import csv
import gzip
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib.resources import files

import exchange_calendars
import polars as pl
import pytest

from monitor.core.adjust import Split, find_splits
from monitor.core.bars import INSTANT, RAW_SCHEMA, violations
from monitor.providers.sample import sample_bars


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return sample_bars()


def closes(symbol: str) -> pl.DataFrame:
    content = gzip.decompress((files("bokeh_sampledata") / "_data" / "stocks.csv.gz").read_bytes()).decode()
    rows = [row for row in csv.DictReader(content.splitlines()) if row["Ticker"] == symbol]
    return pl.DataFrame(
        {
            "ts": [datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC) for row in rows],
            "close": [float(row["Close"]) for row in rows],
            "adjusted": [float(row["Adj Close"]) for row in rows],
        }
    )


@pytest.mark.parametrize(
    ("symbol", "days"),
    [
        ("AAPL", [date(2000, 6, 21), date(2005, 2, 28)]),
        ("MSFT", [date(2003, 2, 18)]),
        ("FB", []),
        ("GOOG", []),
        ("IBM", []),
    ],
)
def test_the_splits_found_are_those_that_took_place(symbol, days):
    assert find_splits(closes(symbol)) == [Split(datetime(d.year, d.month, d.day, tzinfo=UTC), 2) for d in days]


def test_sample_bars_are_sound_and_in_order(bars):
    assert bars.schema == RAW_SCHEMA
    assert violations(bars) == []
    assert bars.equals(bars.sort("symbol", "ts"))


@pytest.mark.parametrize("symbol", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
def test_every_symbol_has_a_bar_for_each_session_of_new_york(bars, symbol):
    labels = bars.filter(pl.col("symbol") == symbol)["ts"]
    calendar = exchange_calendars.get_calendar("XNYS", start=labels[0].date(), end=labels[-1].date())
    assert labels.to_list() == [session.to_pydatetime().replace(tzinfo=UTC) for session in calendar.sessions]


@pytest.mark.parametrize(
    ("symbol", "day", "close", "volume"),
    [
        ("AAPL", "2000-03-01", 130.31 / 4, 9616100 * 4),
        ("AAPL", "2000-06-20", 101.25 / 4, 4476700 * 4),
        ("AAPL", "2000-09-29", 25.75 / 2, 132529300 * 2),
        ("AAPL", "2005-02-28", 44.86, 11635900),
        ("MSFT", "2003-02-14", 48.30 / 2, 45223200 * 2),
    ],
)
def test_prices_are_divided_and_volumes_multiplied_by_the_later_splits(bars, symbol, day, close, volume):
    label = datetime.fromisoformat(day).replace(tzinfo=UTC)
    row = bars.row(by_predicate=(pl.col("symbol") == symbol) & (pl.col("ts") == pl.lit(label, INSTANT)), named=True)
    assert (row["close"], row["volume"]) == (close, volume)


def test_without_the_wheel_it_says_how_to_install_it():
    code = (
        "import sys; sys.modules['bokeh_sampledata'] = None\n"
        "from monitor.errors import InputError\n"
        "from monitor.providers.sample import sample_bars\n"
        "try: sample_bars()\n"
        "except InputError as error: print(error.hint)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "pip install 'barwatch[demo]'"
