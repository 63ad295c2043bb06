"""What misleads a watcher of prices, one test each, all the way from Yahoo's answer to what is told.

The real yfinance asks the emulator at emulated times. Unless a test says otherwise bars close at 90, and a check asks
whether they close above 100; in January New York trades from 14:30 to 21:00 UTC.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import talib

from monitor import assembly
from monitor.config.snapshot import load_snapshot
from monitor.core.bars import BAR_SCHEMA, INSTANT
from monitor.holes import Holes
from monitor.pipeline import Pipeline, Stores
from monitor.providers.yahoo import YahooProvider
from monitor.sessions import Sessions
from monitor.sources import Sources
from monitor.stores.bars import BarStore
from monitor.stores.database import StateDirectory
from monitor.stores.quality import Quality
from monitor.stores.state import StateStore
from tests.flaky import Flaky
from tests.worlds import WATCHLIST, World
from tests.yahoo.faults import Fault, blank, flat, missing, revised, scaled, snapshot
from tests.yahoo.market import StockSplit

CONFIG = """
state_directory = "state"

[channels.file]
kind = "file"
path = "messages.jsonl"
"""
ABOVE = "close > 100"
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def january(*days: int) -> list[datetime]:
    return [datetime(2026, 1, day, tzinfo=UTC) for day in days]


DAYS = january(5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 20, 21, 22, 23)  # the 19th is a holiday


def every(minutes: int, first: str, count: int) -> list[datetime]:
    return [at(first) + number * minutes * MINUTE for number in range(count)]


def bars(
    labels: list[datetime], close: Mapping[datetime, float] = {}, high: Mapping[datetime, float] = {}, usual: float = 90
) -> pl.DataFrame:
    """A bar for each label, the usual one but for some."""
    rows = []
    for number, ts in enumerate(labels):
        last = close.get(ts, usual)
        rows.append((ts, usual, high.get(ts, max(usual, last) + 1), min(usual, last) - 1, last, 1000 + number))
    values = dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64)
    return pl.DataFrame(rows, {"ts": INSTANT, **values}, orient="row")


class Live:
    """A world that watches one symbol, with Yahoo for its provider."""

    def __init__(self, folder, yahoo):
        self.yahoo, self.market = yahoo, yahoo.market
        self.world = World(folder, config=CONFIG)

    def watch(self, symbol, timeframe, when=ABOVE):
        check = f'[[checks]]\nname = "check"\nwhen = "{when}"\ntrigger = "change"\n'
        lists = f'symbols = ["{symbol}"]\ntimeframes = ["{timeframe}"]\nchannels = ["file"]\n'
        self.world.write_watchlist(lists + check)

    @contextlib.contextmanager
    def parts(self, *others):
        """A process; others are asked when Yahoo fails."""
        asked = [YahooProvider(self.world.folder / "cache", requests_per_second=1000), *others]
        with assembly.assembled(load_snapshot(self.world.config), asked) as parts:
            yield parts

    @contextlib.contextmanager
    def running(self, *others):
        """A process, by the cycles it makes: at an instant of Yahoo's clock and, unless told otherwise, of ours."""
        with self.parts(*others) as parts:
            [watched] = parts.snapshot.watched

            def cycle(now, ours=None):
                self.market.at(at(now))
                return parts.pipeline.run_cycle(at(ours or now), watched, watched.markets)

            yield cycle

    def stored(self, column="close"):
        database = StateDirectory(self.world.folder / "state").open("bars")
        rows = database.records(f"SELECT ts, {column} FROM bars ORDER BY ts")
        database.close()
        return {datetime.fromtimestamp(row["ts"] / 1e6, UTC): row[column] for row in rows}


@pytest.fixture
def live(yahoo, fresh_yfinance, tmp_path):
    return Live(tmp_path, yahoo)


def told(receipt) -> list[tuple[str, datetime]]:
    return [(event.kind.value, event.ts) for event in receipt.events]


def above(ts: datetime) -> tuple[str, datetime]:
    return "became_true", ts


def below(ts: datetime) -> tuple[str, datetime]:
    return "became_false", ts


def test_a_running_bar_is_not_judged(live):
    live.market.add("AAPL", bars={"1d": bars(DAYS, close={DAYS[4]: 95}, high={DAYS[4]: 130})})
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-08 22:00")
        for now in ("2026-01-09 17:00", "2026-01-09 20:59", "2026-01-09 21:31"):
            assert cycle(now).events == []
    assert live.stored()[DAYS[4]] == 95


def test_a_live_row_that_a_halt_leaves_behind_is_no_bar(live):
    halt, live_row = at("2026-01-09 15:42:17"), snapshot(instead=True)
    live.market.add("^GSPC", bars={"1h": bars(every(60, "2026-01-09 14:30", 7))}, kind="INDEX", exchange="SNP")
    live.market.edit("^GSPC", "1h", lambda rows, now: live_row(rows.filter(pl.col("stamp") <= halt), min(now, halt)))
    live.watch("^GSPC", "1h", "high == low")
    with live.running() as cycle:
        for now in ("2026-01-09 15:35", "2026-01-09 15:50", "2026-01-09 17:00"):
            assert cycle(now).events == []
    assert [*live.stored()] == [at("2026-01-09 14:30")]


def test_a_bar_of_an_exchange_that_yahoo_knows_late_is_waited_for(live):
    first = at("2026-01-14 08:00")
    truth = bars(every(5, "2026-01-13 08:00", 102) + every(5, "2026-01-14 08:00", 30), {first: 95}, {first: 130})
    live.market.add("AZN.L", bars={"5m": truth}, market="XLON", currency="GBp", delay=20 * MINUTE)
    live.watch("AZN.L", "5m")
    with live.running() as cycle:
        cycle("2026-01-13 17:00")
        for now in ("2026-01-14 08:23", "2026-01-14 08:27"):
            assert cycle(now).events == []
    assert live.stored()[first] == 95


def test_an_answer_out_of_an_edge_cache_is_of_when_it_was_made(live):
    live.world.config.write_text("grace.intraday = 0\n" + CONFIG)
    last = at("2026-01-14 14:55")
    live.market.add("AAPL", bars={"5m": bars(every(5, "2026-01-14 14:30", 20), {last: 95}, {last: 130})})
    live.market.edge = timedelta(seconds=30)
    live.watch("AAPL", "5m")
    with live.running() as cycle:
        cycle("2026-01-14 15:00:20")
        assert max(live.stored()) == last - 5 * MINUTE
        cycle("2026-01-14 15:00:40")
    assert live.stored()[last] == 95


@pytest.mark.parametrize(
    ("day", "opens", "due"),
    [
        ("2025-11-28", "2025-11-24", "18:30"),  # half a day: it ends at 13:00 in New York
        ("2026-03-09", "2026-03-05", "20:30"),  # the first day of summer time
        ("2026-11-02", "2026-10-28", "21:30"),  # and of winter time
    ],
)
def test_a_day_ends_when_its_exchange_closes_that_day(live, day, opens, due):
    weekdays = [at(opens) + number * timedelta(days=1) for number in range(6)]
    labels = [label for label in weekdays if label.weekday() < 5 and label != at("2025-11-27")]
    live.market.add("AAPL", bars={"1d": bars(labels, {at(day): 110})})
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        early = f"{at(f'{day} {due}') - MINUTE:%Y-%m-%d %H:%M}"
        assert told(cycle(early)) == []
        assert told(cycle(f"{day} {due}:30")) == [above(at(day))]


def test_an_hour_that_ends_in_the_lunch_break_is_told_at_lunch(live):
    last = at("2026-01-14 03:30")  # 11:30 in Hong Kong
    labels = [at(f"2026-01-{day} {hour:02}:30") for day in (13, 14) for hour in range(1, 8)]
    live.market.add("9988.HK", bars={"1h": bars(labels, {last: 110})}, market="XHKG", currency="HKD", delay=15 * MINUTE)
    live.watch("9988.HK", "1h")
    with live.running() as cycle:
        cycle("2026-01-14 03:50")
        receipt = cycle("2026-01-14 04:17")
        assert (told(receipt), receipt.missing) == ([above(last)], {})
        assert cycle("2026-01-14 05:40").missing == {}


class Expired(Flaky):
    """A share in Hong Kong, whose calendar ends with 2049; 3 January 2050, a Monday, happens to be a holiday."""

    def __init__(self):
        labels = [at(f"2049-12-{day}") for day in (21, 22, 23, 24, 28, 29, 30, 31)]
        labels += [at(f"2050-01-0{day}") for day in (4, 5, 6)]
        closed_at = pl.col("ts").dt.offset_by("8h").alias("closed_at")
        truth = bars(labels, {labels[-1]: 110}).with_columns(closed_at, symbol=pl.lit("0700.HK"))
        super().__init__("first", {"1d": truth.select(*BAR_SCHEMA)})

    def fetch(self, since, timeframe, now):
        told = dict.fromkeys(since, (at(f"{now:%Y-%m-%d} 01:30"), at(f"{now:%Y-%m-%d} 08:00")))
        return replace(super().fetch(since, timeframe, now), hours=told)

    @contextlib.contextmanager
    def cycles(self, folder):
        world = World(folder, WATCHLIST.replace("24/7", "XHKG").replace("BTC-USD", "0700.HK"), CONFIG)
        known = Sessions("XHKG", date(2049, 11, 1), date(2050, 12, 31))
        [watched] = load_snapshot(world.config).watched
        directory = StateDirectory(folder / "state").hold()
        with contextlib.closing(directory.open("bars")) as kept, contextlib.closing(directory.open("state")) as state:
            quality = Quality(kept)
            stores = Stores(BarStore(kept), quality, StateStore(state))
            holes = Holes(stores.bars, quality, lambda _: known, 1, skips=True)
            pipeline = Pipeline(Sources([self], lambda _: known), stores, lambda _: known, holes)
            yield lambda now: pipeline.run_cycle(at(now), watched, watched.markets), quality
        directory.release()


def test_when_a_calendar_has_ended_a_day_is_judged_late_and_a_holiday_not_waited_for(tmp_path):
    with Expired().cycles(tmp_path) as (cycle, _):
        for now in ("2049-12-31 12:00", "2050-01-04 10:29", "2050-01-05 12:00", "2050-01-06 10:29"):
            assert cycle(now).events == []
        assert told(cycle("2050-01-06 10:31")) == [above(at("2050-01-06"))]


def test_hours_that_are_told_are_kept_only_where_a_calendar_has_ended(tmp_path):
    with Expired().cycles(tmp_path) as (cycle, quality):
        cycle("2049-12-31 12:00")
        cycle("2050-01-04 12:00")
        assert quality.observed_hours("XHKG") == {date(2050, 1, 4): (at("2050-01-04 01:30"), at("2050-01-04 08:00"))}


@pytest.mark.parametrize("fault", [Fault.BAD_GATEWAY, Fault.NO_TIMESTAMP])
def test_an_outage_is_told_as_one_and_its_bar_is_had_after_it(live, fault):
    live.market.add("AAPL", bars={"1d": bars(DAYS, {DAYS[4]: 110})})
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-08 22:00")
        live.market.fail(fault, end=at("2026-01-12 15:00"))
        receipt = cycle("2026-01-09 22:00")
        assert receipt.missing["AAPL"].startswith("Yahoo ")
        assert told(cycle("2026-01-12 15:00")) == [above(DAYS[4])]


def test_a_ban_is_told_as_one_and_yahoo_left_alone(live):
    live.market.add("AAPL", bars={"1d": bars(DAYS, {DAYS[4]: 110})})
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-08 22:00")
        live.market.fail(Fault.RATE_LIMITED, times=1)
        assert "left alone" in cycle("2026-01-09 22:00").missing["AAPL"]
        asked = len(live.yahoo.requests)
        assert "not asked before 2026-01-09 22:15" in cycle("2026-01-09 22:14").missing["AAPL"]
        assert len(live.yahoo.requests) == asked
        assert told(cycle("2026-01-09 22:15")) == [above(DAYS[4])]


@pytest.mark.parametrize("fault", [Fault.CRUMB_RATE_LIMITED, Fault.CRUMB_POISONED])
def test_a_poisoned_crumb_is_never_sent(live, fault):
    live.market.add("AAPL", bars={"1d": bars(DAYS, {DAYS[4]: 110})})
    live.market.fail(fault, times=1)
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-08 22:00")
        assert told(cycle("2026-01-09 22:00")) == [above(DAYS[4])]
    crumbs = [request.query.get("crumb") for request in live.yahoo.requests if request.endpoint == "chart"]
    assert crumbs == [None, "haT3oykhHqZ"]


def test_a_bad_answer_about_the_past_is_not_kept(live):
    old, new = every(1, "2025-12-22 14:30", 30), every(1, "2026-01-14 14:30", 30)
    live.market.add("AAPL", bars={"1m": bars(old + new)})
    live.market.fail(Fault.NO_BARS, times=1)  # the first of several weeks
    live.market.fail(Fault.BAD_GATEWAY, times=1)
    live.watch("AAPL", "1m")
    with live.running() as cycle:
        assert "502" in cycle("2026-01-14 15:10").missing["AAPL"]
        cycle("2026-01-14 15:10")
    assert [*live.stored()] == old + new


def test_a_session_that_is_filled_in_later_is_judged_late(live):
    lacking = DAYS[5]
    live.market.add("AAPL", bars={"1d": bars(DAYS, {lacking: 110})})
    live.market.edit("AAPL", "1d", missing(lacking), end=at("2026-01-22 12:00"))
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-09 22:00")
        assert cycle("2026-01-12 22:00").events == []
        assert told(cycle("2026-01-13 22:00")) == [("gap", lacking)]
        assert cycle("2026-01-21 22:00").events == []
        receipt = cycle("2026-01-22 12:00")
    assert told(receipt) == [above(lacking), below(DAYS[6])]
    assert "came after later ones" in receipt.events[0].evidence["late"]


def test_a_row_without_prices_is_no_bar(live):
    lacking = DAYS[4]
    live.market.add("AAPL", bars={"1d": bars(DAYS, {lacking: 110})})
    live.market.edit("AAPL", "1d", blank(lacking, volume=True), end=at("2026-01-09 23:00"))
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-08 22:00")
        receipt = cycle("2026-01-09 22:00")
        assert receipt.events == []
        assert "the bar of 2026-01-09 00:00 UTC has not come yet" in receipt.missing["AAPL"]
        assert told(cycle("2026-01-09 23:00")) == [above(lacking)]


def test_an_event_of_a_bar_that_is_revised_is_withdrawn(live):
    live.market.add("AAPL", bars={"1d": bars(DAYS, {DAYS[4]: 95})})
    live.market.edit("AAPL", "1d", revised(DAYS[4], close=110, high=111), end=at("2026-01-12 12:00"))
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-08 22:00")
        assert told(cycle("2026-01-09 22:00")) == [above(DAYS[4])]
        receipt = cycle("2026-01-12 12:00")
        assert told(receipt) == [("withdrawn", DAYS[4])]
        assert cycle("2026-01-12 22:00").events == []
    assert receipt.told == 1


FALLING = "close < 150 or close < prev(close, 1) / 2 or close < sma(close, 3) / 2"


def split(labels, day, **known):
    """Bars as they were traded around a split of 4:1, and the split."""
    old = bars([label for label in labels if label.date() < day], usual=400)
    return pl.concat([old, bars([label for label in labels if label.date() >= day], usual=100)]), [
        StockSplit(day, Fraction(4), **known)
    ]


def test_a_split_that_rewrites_the_history_makes_no_event_and_withdraws_none(live):
    truth, splits = split(DAYS, date(2026, 1, 12))
    high = pl.when(pl.col("ts") == DAYS[3]).then(420.0)
    truth = truth.with_columns(high.otherwise("high").alias("high"), high.otherwise("close").alias("close"))
    live.market.add("AAPL", bars={"1d": truth}, splits=splits)
    live.watch("AAPL", "1d", f"close > 410 or {FALLING}")
    with live.running() as cycle:
        receipts = [cycle(f"2026-01-{day:02} 22:00") for day in (7, 8, 9, 12, 13, 14)]
    assert [told(receipt) for receipt in receipts] == [[], [above(DAYS[3])], [below(DAYS[4])], [], [], []]
    assert [*live.stored().values()] == [100, 100, 100, 105, *[100] * 4]


def test_hours_that_wait_for_the_split_until_the_next_day_make_no_event(live):
    labels = [label for day in (8, 9, 12, 13) for label in every(60, f"2026-01-{day:02} 14:30", 7)]
    truth, splits = split(labels, date(2026, 1, 12), intraday_waits=True)
    live.market.add("AAPL", bars={"1h": truth}, splits=splits)
    live.watch("AAPL", "1h", FALLING)
    with live.running() as cycle:
        for now in (f"2026-01-{day:02} {hour}:32" for day in (9, 12, 13) for hour in (15, 18, 21)):
            receipt = cycle(now)
            assert (receipt.events, receipt.missing) == ([], {})
    assert {*live.stored().values()} == {100}


def test_a_share_that_opens_at_half_its_price_is_believed_when_another_session_has_closed(live):
    labels = [label for day in (8, 9, 12, 13) for label in every(60, f"2026-01-{day:02} 14:30", 7)]
    truth = pl.concat([bars(labels[:14], usual=110), bars(labels[14:], usual=55)])
    live.market.add("AAPL", bars={"1h": truth})
    live.watch("AAPL", "1h")
    with live.running() as cycle:
        cycle("2026-01-09 22:00")
        assert told(cycle("2026-01-12 15:32")) == [("quarantined", labels[14])]
        for now in ("2026-01-12 18:32", "2026-01-12 21:02", "2026-01-13 15:32"):
            assert cycle(now).events == []
        assert told(cycle("2026-01-13 21:02")) == [below(labels[14])]


def test_pence_among_pounds_are_kept_out_however_long_they_are_repeated(live):
    live.market.add("AAPL", bars={"1d": bars(DAYS)})
    live.market.edit("AAPL", "1d", scaled(100, DAYS[4], DAYS[7]), end=at("2026-01-15 12:00"))
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-08 22:00")
        assert told(cycle("2026-01-09 22:00")) == [("quarantined", DAYS[4])]
        for day in (12, 13, 14):
            receipt = cycle(f"2026-01-{day} 22:00")
            assert receipt.missing["AAPL"].startswith("in quarantine: 2026-01-09: 9000 after 90")
            assert receipt.events == []
        receipt = cycle("2026-01-15 12:00")
    assert (receipt.events, receipt.missing, {*live.stored().values()}) == ([], {}, {90})


def test_the_volume_of_the_first_row_is_not_believed(live):
    ever = [at("2025-10-01 14:30")]
    truth = bars(ever + every(5, "2026-01-13 14:30", 78) + every(5, "2026-01-14 14:30", 40))
    live.market.add("AAPL", bars={"5m": truth})
    live.market.understates = True
    live.watch("AAPL", "5m", "volume < 1000")
    with live.running() as cycle:
        for now in ("2026-01-14 14:50", "2026-01-14 14:55", "2026-01-14 15:30", "2026-01-14 16:02"):
            assert cycle(now).events == []
    assert live.stored("volume").items() <= dict(truth.select("ts", "volume").iter_rows()).items()


def test_half_hours_begin_with_the_session(live):
    live.market.add(
        "INFY.NS", bars={"15m": bars(every(15, "2026-01-13 03:45", 25) + every(15, "2026-01-14 03:45", 25))},
        market="XBOM", currency="INR",
    )  # fmt: skip
    live.watch("INFY.NS", "30m")
    with live.running() as cycle:
        assert cycle("2026-01-14 10:20").missing == {}
    assert [*live.stored()] == [*every(30, "2026-01-13 03:45", 13), *every(30, "2026-01-14 03:45", 13)]


def test_a_week_is_labelled_by_its_monday_and_told_at_its_last_close(live):
    live.market.add("AAPL", bars={"1d": bars(DAYS, {DAYS[8]: 110, DAYS[9]: 110})})
    live.watch("AAPL", "1wk")
    with live.running() as cycle:
        for now in ("2026-01-12 12:00", "2026-01-15 22:00", "2026-01-16 21:00"):
            assert cycle(now).events == []
        assert told(cycle("2026-01-16 21:32")) == [above(DAYS[5])]


def test_a_day_in_tokyo_has_the_date_of_its_exchange(live):
    labels = january(6, 7, 8, 9, 13, 14)
    live.market.add("7203.T", bars={"1d": bars(labels, {labels[-1]: 110})}, market="XTKS", delay=20 * MINUTE)
    live.watch("7203.T", "1d")
    with live.running() as cycle:
        cycle("2026-01-13 12:00")
        assert told(cycle("2026-01-14 07:10")) == [above(labels[-1])]
    assert [*live.stored()] == labels


def test_a_downtime_longer_than_yahoo_reaches_back_is_told_as_a_gap(live):
    days = [at("2026-01-09") + number * timedelta(days=1) for number in range(66)]
    shut = {at("2026-01-19"), at("2026-02-16")}
    open_days = [day for day in days if day.weekday() < 5 and day not in shut]
    labels = [label for day in open_days if day < at("2026-03-07") for label in every(15, f"{day:%Y-%m-%d} 14:30", 26)]
    labels += [label for day in open_days if day > at("2026-03-07") for label in every(15, f"{day:%Y-%m-%d} 13:30", 26)]
    live.market.add("AAPL", bars={"15m": bars(labels, {labels[-1]: 110})})
    live.watch("AAPL", "15m")
    with live.running() as cycle:
        cycle("2026-01-09 22:00")
        receipt = cycle("2026-03-18 22:00")
    gap = receipt.events[0].evidence
    assert (gap["bars"], gap["first"]) == (5 * 26 + 1, "2026-01-12 14:30 UTC")  # the first row of the 20th is lost
    assert told(receipt) == [("gap", at("2026-01-20 14:30")), above(labels[-1])]


def test_what_was_decided_before_a_crash_is_sent_once_after_it(live):
    live.market.add("AAPL", bars={"1d": bars(DAYS, {DAYS[4]: 110})})
    live.watch("AAPL", "1d")
    with live.running() as cycle:
        cycle("2026-01-08 22:00")
        assert cycle("2026-01-09 22:00").told == 1
    for _ in range(2):
        with live.running() as cycle:
            assert cycle("2026-01-09 22:01").events == []
        with live.parts() as parts:
            asyncio.run(parts.dispatcher.drain())
    [line] = (live.world.folder / "messages.jsonl").read_text().splitlines()
    assert json.loads(line)["events"][0]["symbol"] == "AAPL"


def test_no_bar_is_judged_past_a_hole(live):
    labels = every(5, "2026-01-14 14:30", 20)
    live.market.add("AAPL", bars={"5m": bars(labels, {labels[5]: 110, labels[6]: 110})})
    live.market.edit("AAPL", "5m", missing(labels[5]), end=at("2026-01-14 15:10"))
    live.watch("AAPL", "5m")
    with live.running() as cycle:
        cycle("2026-01-14 14:52")
        receipt = cycle("2026-01-14 15:07")
        assert (receipt.evaluated, receipt.events) == (["AAPL"], [])
        assert "its checks wait for it" in receipt.missing["AAPL"]
        assert told(cycle("2026-01-14 15:10")) == [above(labels[5])]


def test_a_clock_that_is_fast_does_not_close_a_bar(live):
    last = at("2026-01-14 14:55")
    live.market.add("AAPL", bars={"5m": bars(every(5, "2026-01-14 14:30", 20), {last: 95}, {last: 130})})
    live.watch("AAPL", "5m")
    with live.running() as cycle:
        cycle("2026-01-14 14:52", ours="2026-01-14 15:02")
        assert cycle("2026-01-14 14:56", ours="2026-01-14 15:06").events == []
        assert cycle("2026-01-14 15:02", ours="2026-01-14 15:12").events == []
    assert live.stored()[last] == 95


def test_a_symbol_that_was_renamed_is_named(live):
    live.market.add("FB", bars={"1d": bars(DAYS, {DAYS[5]: 110})})
    live.market.rename("FB", "META", at("2026-01-12 12:00"))
    live.watch("FB", "1d")
    with live.running() as cycle:
        cycle("2026-01-09 22:00")
        receipt = cycle("2026-01-12 22:00")
    assert (receipt.events, receipt.missing) == ([], {"FB": "Yahoo now calls FB META"})


def test_days_of_a_suspended_share_are_no_bars_and_no_gap(live):
    walk = {label: 90.0 + number for number, label in enumerate(DAYS)}
    live.market.add("AAPL", bars={"1d": bars(DAYS, walk)})
    live.market.edit("AAPL", "1d", flat(DAYS[4], DAYS[6]))
    live.watch("AAPL", "1d", "close == prev(close, 1)")
    with live.running() as cycle:
        receipts = [cycle(f"2026-01-{day:02} 22:00") for day in (8, 9, 12, 13, 14, 15)]
    assert [receipt.events for receipt in receipts] == [[]] * 6
    assert (receipts[-1].missing, [*live.stored()]) == ({}, DAYS[:4] + DAYS[7:9])


def test_a_series_that_changes_its_provider_has_no_step_in_it_and_keeps_its_events(live):
    live.market.add("AAPL", bars={"1d": bars(DAYS, {DAYS[2]: 110})})
    closed_at = pl.col("ts").dt.offset_by("21h").alias("closed_at")
    other = bars(DAYS, usual=99).with_columns(closed_at, symbol=pl.lit("AAPL"))
    second = Flaky("second", {"1d": other.select(*BAR_SCHEMA)})
    live.watch("AAPL", "1d", "close > 1.05 * prev(close, 1)")
    with live.running(second) as cycle:
        receipts = [cycle(f"2026-01-0{day} 22:00") for day in (6, 7, 8)]
        assert [told(receipt) for receipt in receipts] == [[], [above(DAYS[2])], [below(DAYS[3])]]
        live.market.fail(Fault.DOWN)
        receipts = [cycle(f"2026-01-09 22:{minute:02}") for minute in (0, 1, 2, 3, 4, 35)]
    assert [receipt.events for receipt in receipts] == [[]] * 6
    assert live.stored() == dict.fromkeys(DAYS[:5], 99)


def test_an_average_does_not_depend_on_when_the_process_started(live):
    labels = [at("2025-06-02") + number * timedelta(days=1) for number in range(200)]
    closes = {label: 90.0 + number % 7 for number, label in enumerate(labels)} | {labels[-1]: 110.0}
    live.market.add("BTC-USD", bars={"1d": bars(labels, closes)}, market="24/7", kind="CRYPTOCURRENCY")
    live.watch("BTC-USD", "1d", "close > ema(close, 50) + 10")
    for now in ("2025-12-17 12:00", "2025-12-18 12:00", "2025-12-19 12:00"):
        with live.running() as cycle:
            events = cycle(now).events
    expected = talib.EMA(np.array([*closes.values()]), 50)[-1]
    assert events[0].evidence["ema(close, 50)"] == pytest.approx(expected, rel=1e-9)


ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "data-quality.md").read_text(encoding="utf-8").partition("## Pitfalls")[2]
PITFALLS = {name for name in globals() if name.startswith("test_")}


def test_each_pitfall_has_its_row_in_the_docs():
    assert {*re.findall(r"`(test_\w+)` \|$", TABLE, re.MULTILINE)} == PITFALLS


def test_each_rule_in_the_docs_is_in_the_code():
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "monitor").rglob("*.py"))
    rules = re.findall(r"^\| [^`|]+ \| (.+) \| `", TABLE, re.MULTILINE)
    names = {name for rule in rules for name in re.findall(r"`[\w/.]*?(\w+)`", rule)}
    assert len(names) > 30
    assert {
        name for name in names if not re.search(rf"(def|class) {name}\b|^    {name} = ", code, re.MULTILINE)
    } == set()
