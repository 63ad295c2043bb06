import json

import numpy as np
import polars as pl
import pytest
import talib

from monitor.providers.sample import sample_bars
from tests.core import plain

NAMES = {1: "real_bull", -1: "real_bear", 0: "fake", None: "unclassified"}
TRENDS = {1: "bullish", -1: "bearish", 0: "neutral"}


@pytest.fixture
def ibm(tmp_path):
    """A CSV of 3,270 real daily bars as people have them."""
    bars = sample_bars().filter(pl.col("symbol") == "IBM").drop("symbol")
    path = tmp_path / "IBM.csv"
    bars.with_columns(pl.col("ts").dt.strftime("%Y-%m-%d")).rename({"ts": "Date", "open": "Open"}).write_csv(path)
    return path, bars


def test_class_and_trend_of_every_bar_equal_a_plain_reading_of_the_rules(barwatch, ibm):
    path, bars = ibm
    shown = barwatch("analyze", path, "--json").json["bars"]
    kinds = plain.classes(bars.select("open", "high", "low", "close", "volume").rows())
    assert [bar["bar"] for bar in shown] == [NAMES[kind] for kind in kinds]
    assert [bar["trend"] for bar in shown] == [TRENDS[state] for state in plain.trends(kinds)]


def test_indicators_equal_ta_lib(barwatch, ibm):
    path, bars = ibm
    asked = ["rsi(close, 14)", "atr(14)", "macd(close, 12, 26, 9).hist"]
    words = [word for one in asked for word in ("--indicator", one)]
    shown = barwatch("analyze", path, "--json", *words).json["bars"]
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    wheel = [talib.RSI(close, 14), talib.ATR(high, low, close, 14), talib.MACD(close, 12, 26, 9)[2]]
    for text, expected in zip(asked, wheel, strict=True):
        found = np.array([np.nan if bar[text] is None else bar[text] for bar in shown])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_events_of_conditions_are_listed_with_their_evidence(barwatch, ibm):
    path, bars = ibm
    closes = bars["close"].to_list()
    above = next(i for i in range(1, len(closes)) if closes[i] > 200 >= closes[i - 1])
    events = barwatch("analyze", path, "--json", "--when", "close > 200").json["events"]
    first = next(event for event in events if event["check"] == "close > 200")
    assert (first["ts"], first["event"]) == (f"{bars['ts'][above]:%Y-%m-%d}T00:00:00Z", "became_true")
    assert first["evidence"]["close"] == first["close"]


def test_a_table_shows_the_newest_bars_and_events(barwatch, ibm):
    result = barwatch("analyze", ibm[0], "--rows", 3)
    assert result.code == 0
    assert "3270 bars, the newest 3" in result.out
    assert "2013-03-01" in result.out


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_every_bar_is_written_to_a_file(barwatch, ibm, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    assert barwatch("analyze", ibm[0], "--output", output).code == 0
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "json": lambda path: json.loads(path.read_text())}[suffix]
    assert len(read(output)) == 3270


BAD_ROWS = {
    "2026-01-03,1,nan,1,1,5": "high is missing or not a finite number",
    "2026-01-03,1,1,2,1,5": "high is below low",
    "2026-01-02,1,1,1,1,5": "stands twice",
    "2026-01-01,1,1,1,1,5": "",
}


@pytest.mark.parametrize(("row", "rule"), BAD_ROWS.items())
def test_a_bad_row_is_named_by_line(barwatch, tmp_path, row, rule):
    path = tmp_path / "X.csv"
    path.write_text(f"Date,Open,High,Low,Close,Volume\n2026-01-01,1,1,1,1,5\n2026-01-02,1,1,1,1,5\n{row}\n")
    result = barwatch("analyze", path)
    assert result.code == 1
    assert "line 4" in result.err
    assert rule in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeframe", "3x"], "unknown timeframe"),
        (["--indicator", "rsii(close, 14)"], "rsi"),
        (["--indicator", "rsi(close, 14, 3)"], "rsi"),
        (["--indicator", "sma(close, 0)"], "sma(close, 0)\n           ^"),
        (["--when", "close"], "condition"),
        (["--output", "x.xlsx"], "unknown format"),
        (["--fakes", "maybe"], "not one of"),
    ],
)
def test_a_wrong_option_is_told_in_one_screen(barwatch, ibm, words, message):
    result = barwatch("analyze", ibm[0], *words)
    assert result.code in (1, 2)
    assert message in result.err
    assert len(result.err.splitlines()) < 15
    assert "Traceback" not in result.err


def test_a_file_that_is_not_there_is_told(barwatch, tmp_path):
    result = barwatch("analyze", tmp_path / "none.csv")
    assert result.code == 1
    assert "none.csv" in result.err
