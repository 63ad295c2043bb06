"""Bar files as people have them, and what is said of the ones that cannot be used."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from monitor.core.bars import RAW_SCHEMA, violations
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import BarError, InputError
from monitor.providers.barfile import read_bars

HEADER = "Date,Open,High,Low,Close,Volume\n"
NINETEENTH = ("X", datetime(2026, 11, 19, tzinfo=UTC), 10.0, 13.0, 9.0, 12.0, 100.0)
TWENTIETH = ("X", datetime(2026, 11, 20, tzinfo=UTC), 12.0, 14.0, 11.0, 13.5, 200.0)


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes, timeframe: str = "1d", zone: str | None = None) -> pl.DataFrame:
        path = tmp_path / "X.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_bars(path, "X", TIMEFRAMES[timeframe], zone)

    return read


def refusal(read, content, timeframe="1d", zone=None) -> BarError:
    with pytest.raises(BarError) as caught:
        read(content, timeframe, zone)
    return caught.value


PLAIN = HEADER + "2026-11-19,10,13,9,12,100\n2026-11-20,12,14,11,13.5,200\n"
TAB = (
    "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>\n2026.11.19\t10\t13\t9\t12\t100\n2026.11.20\t12\t14\t11\t13.5\t200\n"
)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param("\ufeff" + PLAIN.replace("\n", "\r\n") + "\r\n\r\n", id="from a spreadsheet"),
        pytest.param(PLAIN + ",,,,,\n,,,,,\n", id="empty rows at the end"),
        pytest.param(PLAIN.rstrip("\n"), id="no last line end"),
        pytest.param("\n\n" + PLAIN, id="empty lines before the header"),
        pytest.param(PLAIN.encode("utf-16"), id="utf-16"),
        pytest.param(PLAIN.lower().replace(",", ";"), id="semicolons"),
        pytest.param(TAB, id="tabs"),
        pytest.param(
            "timestamp,o,h,l,c,v\n1795046400,10,13,9,12,100\n1795132800,12,14,11,13.5,200\n",
            id="short names and seconds since 1970",
        ),
        pytest.param(
            "time,open,high,low,close,Vol\n1795046400000,10,13,9,12,100\n1795132800000,12,14,11,13.5,200\n",
            id="milliseconds since 1970",
        ),
        pytest.param(
            'Date,Close/Last,Volume,Open,High,Low\n11/20/2026,"$13.50",200,$12,$14,$11\n11/19/2026,$12,100,$10,$13,$9\n',
            id="dollars, American dates, newest first",
        ),
        pytest.param(
            "Price,Close,High,Low,Open,Volume\nTicker,X,X,X,X,X\nDate,,,,,\n"
            "2026-11-19,12,13,9,10,100\n2026-11-20,13.5,14,11,12,200\n",
            id="three lines of header",
        ),
        pytest.param(
            ",open,high,low,close,volume,dividends\n2026-11-19,10,13,9,12,100,0\n2026-11-20,12,14,11,13.5,200,0\n",
            id="index without a name, another column",
        ),
        pytest.param(
            ",Date , Open,High,Low,Close,Volume\n0, 2026-11-19 ,10,13,9,12,100\n1,2026-11-20, 12 ,14,11,13.5,200\n",
            id="numbered rows and spaces",
        ),
        pytest.param(
            "date,1. open,2. high,3. low,4. close,5. volume\n20261119,10,13,9,12,100\n20261120,12,14,11,13.5,200\n",
            id="digits and numbered names",
        ),
        pytest.param(
            "Datetime,Open,High,Low,Close,Volume\n2026-11-19 00:00:00-05:00,10,13,9,12,100\n"
            "2026-11-20T00:00:00+09:00,12,14,11,13.5,200\n",
            id="daily bars at midnight of a zone",
        ),
    ],
)
def test_a_daily_file_is_read_however_it_is_written(read, content):
    bars = read(content)
    assert bars.schema == RAW_SCHEMA
    assert bars.rows() == [NINETEENTH, TWENTIETH]


@pytest.mark.parametrize(
    ("written", "zone", "instant"),
    [
        ("2026-11-20 09:30", None, "2026-11-20 09:30"),
        ("2026-11-20 09:30", "America/New_York", "2026-11-20 14:30"),
        ("2026-07-20 09:30:00", "America/New_York", "2026-07-20 13:30"),
        ("2026-11-20T14:30:00Z", "America/New_York", "2026-11-20 14:30"),
        ("2026-11-20 09:30:00-05:00", "Asia/Tokyo", "2026-11-20 14:30"),
        ("2026-11-20 20:00:00.000+0530", None, "2026-11-20 14:30"),
        ("20261120 09:30", None, "2026-11-20 09:30"),
        ("11/20/2026 2:30 PM", None, "2026-11-20 14:30"),
        ("11/20/2026 12:30 AM", None, "2026-11-20 00:30"),
        ("1795185000", "Asia/Tokyo", "2026-11-20 14:30"),
        ("946737000", None, "2000-01-01 14:30"),
    ],
)
def test_an_intraday_time_becomes_the_instant_it_means(read, written, zone, instant):
    bars = read(f"Date,Open,High,Low,Close\n{written},10,13,9,12\n", "1h", zone)
    assert bars["ts"].to_list() == [datetime.fromisoformat(instant).replace(tzinfo=UTC)]


def test_a_date_and_a_time_in_two_columns_are_one_label(read):
    bars = read("Date,Time,Open,High,Low,Close\n2026-11-20,09:30,10,13,9,12\n", "1h")
    assert bars["ts"].to_list() == [datetime(2026, 11, 20, 9, 30, tzinfo=UTC)]


def test_seconds_of_a_daily_bar_are_the_date_of_the_zone(read):
    opened_in_sydney = "1795042800"  # 2026-11-18 23:00 UTC
    bars = read(f"Date,Open,High,Low,Close\n{opened_in_sydney},10,13,9,12\n", "1d", "Australia/Sydney")
    assert bars["ts"].to_list() == [datetime(2026, 11, 19, tzinfo=UTC)]


def test_quoted_thousands_are_read_and_a_missing_volume_is_unknown(read):
    bars = read('Date,Open,High,Low,Close,Volume\n2026-11-19,"1,100","$1,234.50",900,"1,200.25",\n')
    assert bars.row(0)[2:] == (1100.0, 1234.5, 900.0, 1200.25, None)


def test_a_file_without_volume_has_unknown_volumes(read):
    assert read("Date,Open,High,Low,Close\n2026-11-19,10,13,9,12\n")["volume"].to_list() == [None]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2026-11-21,abc,14,11,13,1", "line 4: open is not a number and cannot be read ('abc')"),
        ("2026-11-21,12,14,11,13,many", "line 4: volume is not a number and cannot be read ('many')"),
        (
            "2026-11-21,12,14,11,nan,1",
            "line 4: X 2026-11-21 00:00: close is missing or not a finite number (close nan)",
        ),
        ("2026-11-21,12,14,11,13,nan", "line 4: X 2026-11-21 00:00: volume is negative or not a number (volume nan)"),
        ("2026-11-21,12,14,,13,1", "line 4: X 2026-11-21 00:00: low is missing or not a finite number (low None)"),
        ("2026-11-21,12,14", "line 4: X 2026-11-21 00:00: low is missing"),
        ("2026-11-21,12,10,11,12,1", "line 4: X 2026-11-21 00:00: high is below low (high 10.0, low 11.0)"),
        ("2026-11-20,12,14,11,13,1", "line 4: X 2026-11-20 00:00: stands twice"),
        ("2026-11-18,12,14,11,13,1", "line 4: X 2026-11-18 00:00: is not in order of time"),
        ("2026-02-30,12,14,11,13,1", "line 4: the date cannot be read ('2026-02-30')"),
        (",12,14,11,13,1", "line 4: X no time: has no time"),
        ("\n\n2026-11-21,12,10,11,12,1", "line 6: X 2026-11-21 00:00: high is below low"),
        ("2026-11-21,12,14,11,13,1,7,8", "line 4 has 8 columns, the header 6"),
        ('2026-11-21,"12,14,11,13,1', "a quotation mark may be missing"),
    ],
)
def test_a_bad_row_is_named_by_its_line_the_rule_and_the_value(read, row, said):
    error = refusal(read, PLAIN + row + "\n")
    assert said in f"{error.message} {error.hint}"
    assert "X.csv: " in error.message


def test_lines_are_those_of_the_file_also_when_it_stands_newest_first(read):
    error = refusal(read, HEADER + "2026-11-20,12,14,11,13,1\n2026-11-19,12,14,11,13,1\n2026-11-18,12,10,11,12,1\n")
    assert "line 4: X 2026-11-18" in error.message


def test_of_two_equal_rows_the_second_is_named(read):
    assert (
        "1 row breaks the rules of bars: line 3: " in refusal(read, HEADER + "2026-11-19,12,14,11,13,1\n" * 2).message
    )


def test_lines_are_those_of_the_file_also_after_empty_lines_and_three_lines_of_header(read):
    header = "\nPrice,Close,High,Low,Open\nTicker,X,X,X,X\nDate,,,,\n"
    assert "line 5: X 2026-11-19" in refusal(read, header + "2026-11-19,12,1,9,10\n").message


def test_all_bad_rows_are_counted_and_the_first_three_shown(read):
    rows = "".join(f"2026-11-{day},12,10,11,12,1\n" for day in range(10, 17))
    message = refusal(read, HEADER + rows).message
    assert "7 rows break" in message
    assert [f"line {line}:" in message for line in range(2, 9)] == [True] * 3 + [False] * 4
    assert message.endswith("and 4 more")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (HEADER, "has no bars below its header"),
        (HEADER + ",,,,,\n", "has no bars below its header"),
        ("Date,Open,Low\n2026-11-19,10,9\n", "has no column for high, close; found 'Date', 'Open', 'Low'"),
        ("2026-11-19,10,13,9,12,100\n", "has no column for date, open, high, low, close"),
        ("Date,Open,High,Low,Close,close\n2026-11-19,10,13,9,12,12\n", "has more than one column 'Close'"),
        (bytes(range(256)), "is neither text nor Parquet"),
        (b"Date\0Open", "is neither text nor Parquet"),
        (b"PAR1 and nothing more", "cannot be read"),
        ("date;o;h;l;c\n2026-11-19;10,5;13;9;12\n", "open is not a number and cannot be read ('10,5')"),
        ("date;o;h;l;c\n2026-11-19;1,234;1.3;1.2;1.3\n", "open is not a number and cannot be read ('1,234')"),
    ],
)
def test_a_file_that_has_no_bars_is_refused_with_what_it_has(read, content, said):
    assert said in refusal(read, content).message


@pytest.mark.parametrize("dates", [("11/10/2026", "11/11/2026"), ("19/11/2026", "20/11/2026")])
def test_dates_with_slashes_are_refused_unless_the_file_shows_that_the_month_is_first(read, dates):
    error = refusal(read, HEADER + "".join(f"{written},10,13,9,12,1\n" for written in dates))
    assert f"nothing in the file shows that dates like '{dates[0]}' are month/day/year" in error.message
    assert "2026-11-20" in error.hint


def test_dates_alone_are_refused_for_intraday_bars(read):
    error = refusal(read, PLAIN, "1h")
    assert "'2026-11-19' has no time of day" in error.message
    assert "1d" in error.hint


@pytest.mark.parametrize("written", ["2026-11-01 01:30", "2026-03-08 02:30"])
def test_an_hour_that_a_clock_change_repeats_or_skips_is_refused(read, written):
    error = refusal(read, f"Date,Open,High,Low,Close\n{written},10,13,9,12\n", "1h", "America/New_York")
    assert f"the date cannot be read ('{written}')" in error.message


def test_an_unknown_zone_is_refused(read):
    with pytest.raises(InputError, match="unknown time zone 'Mars/Base'"):
        read("Date,Open,High,Low,Close\n2026-11-20 09:30,10,13,9,12\n", "1h", "Mars/Base")


@pytest.mark.parametrize(("path", "said"), [("", "Is a directory"), ("none.csv", "No such file")])
def test_a_path_that_is_no_file_is_refused(tmp_path, path, said):
    with pytest.raises(BarError, match=said):
        read_bars(tmp_path / path, "X", TIMEFRAMES["1d"])


def test_an_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "loop.csv"
    path.symlink_to(path)
    with pytest.raises(BarError, match=r"loop\.csv: cannot be read"):
        read_bars(path, "X", TIMEFRAMES["1d"])


def parquet(path: Path, **columns: list[object]) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


PRICES = {"Open": [10, 12], "High": [13.0, 14.0], "Low": [9, 11], "Close": [12.0, 13.5], "Volume": [100, 200]}


@pytest.mark.parametrize(
    "dates",
    [
        [date(2026, 11, 19), date(2026, 11, 20)],
        [datetime(2026, 11, 19), datetime(2026, 11, 20)],  # noqa: DTZ001  naive on purpose
        ["2026-11-19", "2026-11-20"],
        [1795046400, 1795132800],
    ],
)
def test_a_parquet_file_is_read_whatever_the_type_of_its_dates(tmp_path, dates):
    path = parquet(tmp_path / "X.parquet", Date=dates, **PRICES)
    assert read_bars(path, "X", TIMEFRAMES["1d"]).rows() == [NINETEENTH, TWENTIETH]


@pytest.mark.parametrize(
    ("timeframe", "labels"),
    [("1d", ["2026-11-19 00:00", "2026-11-20 00:00"]), ("1h", ["2026-11-19 05:00", "2026-11-20 05:00"])],
)
def test_a_zoned_parquet_time_is_a_date_for_daily_bars_and_an_instant_for_others(tmp_path, timeframe, labels):
    midnights = pl.Series([datetime(2026, 11, 19), datetime(2026, 11, 20)])  # noqa: DTZ001  naive on purpose
    zoned = midnights.dt.replace_time_zone("America/New_York")
    path = parquet(tmp_path / "X.parquet", __index_level_0__=zoned, **PRICES)
    ts = read_bars(path, "X", TIMEFRAMES[timeframe])["ts"]
    assert ts.dt.to_string("%Y-%m-%d %H:%M").to_list() == labels


def test_a_bad_parquet_row_is_named_by_its_number(tmp_path):
    path = parquet(tmp_path / "X.parquet", Date=["2026-11-19", "2026-11-20"], **PRICES | {"High": [13.0, 1.0]})
    with pytest.raises(BarError, match="row 2: X 2026-11-20 00:00: high is below low"):
        read_bars(path, "X", TIMEFRAMES["1d"])


def test_a_torn_parquet_file_is_refused(tmp_path):
    path = parquet(tmp_path / "X.parquet", Date=["2026-11-19", "2026-11-20"], **PRICES)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BarError, match="cannot be read"):
        read_bars(path, "X", TIMEFRAMES["1d"])


def test_five_thousand_rows_are_read_in_order_and_sound(read):
    days = pl.date_range(date(2000, 1, 1), date(2013, 9, 8), eager=True).reverse()
    bars = read(
        HEADER + "".join(f"{day},{100 + n % 7},{120 + n % 7},90,{101 + n % 5},{n}\n" for n, day in enumerate(days))
    )
    assert (bars.height, bars["ts"].is_sorted(), violations(bars)) == (5000, True, [])


def test_a_last_line_that_was_cut_short_is_named_though_it_could_be_read(read):
    refused = refusal(read, HEADER + "2026-11-19,10,13,9,12,100\n2026-11-20,12,14,11,13")
    assert refused.message.endswith("line 3 has 5 columns, the line before it 6")


def test_what_analyze_wrote_can_be_read_again(read):
    assert read(
        "ts,open,high,low,close,volume,bar,trend\n2026-11-19T00:00:00Z,10,13,9,12,100,fake,neutral\n"
    ).rows() == [NINETEENTH]


def test_metatraders_tick_volume_counts_where_the_other_is_empty(read):
    content = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\n2026.11.19\t10\t13\t9\t12\t100\t0\n"
    assert read(content).rows() == [NINETEENTH]
