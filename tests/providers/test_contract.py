"""What every provider keeps to. Each is given the same bars, of symbols that it has; the newest forms at `NOW`."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from monitor.core.bars import BAR_SCHEMA, RAW_SCHEMA, violations
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import UnknownSymbol
from monitor.markets import MARKETS
from monitor.ports import Provider
from monitor.providers.files import FilesProvider
from monitor.providers.replay import ReplayProvider
from tests.providers.rigs import RIGS, Rig

DAILY = TIMEFRAMES["1d"]
NOW = datetime(2025, 11, 26, 20, 30, tzinfo=UTC)
LABELS = [datetime(2025, 11, day, tzinfo=UTC) for day in (24, 25, 26)]
FORMING = LABELS[-1]


@dataclass(frozen=True)
class World:
    """Three symbols with a bar a day, and how long after its label each closes."""

    symbols: tuple[str, ...]
    closes: timedelta = timedelta(hours=21)

    @property
    def bars(self) -> pl.DataFrame:
        rows = [
            (symbol, ts, ts + self.closes, first + n, first + n + 2.0, first + n - 1.0, first + n + 1.0, 1000.0 * n)
            for symbol, first in zip(self.symbols, (100.0, 400.0, 6000.0), strict=True)
            for n, ts in enumerate(LABELS)
        ]
        return pl.DataFrame(rows, BAR_SCHEMA, orient="row")


STOCKS = World(("AAPL", "MSFT", "^GSPC"))


@contextmanager
def _folder(path: Path, write: Callable[[pl.DataFrame, Path], None], suffix: str) -> Iterator[tuple[World, Provider]]:
    (path / "1d").mkdir()
    for (symbol,), bars in STOCKS.bars.group_by("symbol"):
        file = path / "1d" / f"{symbol}{suffix}"
        write(bars.sort("ts").select(pl.col("ts").alias("Date"), "open", "high", "low", "close", "volume"), file)
        os.utime(file, (NOW.timestamp() - 60, NOW.timestamp() - 60))
    yield STOCKS, FilesProvider(path)


@contextmanager
def _rest(opened: Callable[[datetime], AbstractContextManager[Rig]]) -> Iterator[tuple[World, Provider]]:
    with opened(NOW) as rig:
        world = World(tuple(rig.symbols), rig.closes)
        for (symbol,), bars in world.bars.group_by("symbol", maintain_order=True):
            rig.give(str(symbol), bars.drop("symbol", "closed_at").rows())
        yield world, rig.provider


OPENED: dict[str, Callable[[Path], AbstractContextManager[tuple[World, Provider]]]] = {
    "files, csv": lambda path: _folder(path, pl.DataFrame.write_csv, ".csv"),
    "files, parquet": lambda path: _folder(path, pl.DataFrame.write_parquet, ".parquet"),
    "replay": lambda _: nullcontext((STOCKS, ReplayProvider({"1d": STOCKS.bars.reverse()}))),
    **{name: lambda _, opened=opened: _rest(opened) for name, opened in RIGS.items()},
}


@pytest.fixture(params=OPENED.values(), ids=OPENED)
def case(request, tmp_path):
    with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture
def world(case) -> World:
    return case[0]


@pytest.fixture
def provider(case) -> Provider:
    return case[1]


def test_it_has_a_name(provider):
    assert provider.name


def test_every_symbol_asked_for_is_known_or_has_failed(provider, world):
    fetched = provider.fetch(dict.fromkeys([*world.symbols, "NONE", "../AAPL", ""]), DAILY, NOW)
    assert set(fetched.as_of) == set(world.symbols)
    assert set(fetched.failures) == {"NONE", "../AAPL", ""}


def test_bars_are_sound_sorted_and_raw(provider, world):
    bars = provider.fetch(dict.fromkeys(reversed(world.symbols)), DAILY, NOW).bars
    assert bars.schema == RAW_SCHEMA
    assert violations(bars) == []
    assert bars.equals(bars.sort("symbol", "ts"))
    assert set(bars["symbol"]) == set(world.symbols)


def test_closed_bars_are_given_as_they_are(provider, world):
    bars = provider.fetch(dict.fromkeys(world.symbols), DAILY, NOW).bars
    expected = world.bars.filter(pl.col("ts") < FORMING).select(*RAW_SCHEMA)
    assert bars.filter(pl.col("ts") < FORMING).equals(expected)


def test_a_forming_bar_can_be_told_by_as_of(provider, world):
    fetched = provider.fetch(dict.fromkeys(world.symbols), DAILY, NOW)
    for symbol, ts in fetched.bars.select("symbol", "ts").iter_rows():
        assert (ts + world.closes <= fetched.as_of[symbol]) == (ts < FORMING)


def test_nothing_is_known_later_than_now(provider, world):
    assert all(known <= NOW for known in provider.fetch(dict.fromkeys(world.symbols), DAILY, NOW).as_of.values())


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(microseconds=1)])
def test_since_is_inclusive_and_of_each_symbol(provider, world, offset):
    one, two, three = world.symbols
    monday, tuesday, _ = LABELS
    fetched = provider.fetch({one: tuesday + offset, two: monday, three: None}, DAILY, NOW)
    first = dict(fetched.bars.group_by("symbol").agg(pl.col("ts").min()).iter_rows())
    assert first[two] == first[three] == monday
    assert (first.get(one) == tuesday) == (not offset)


def test_a_since_after_all_bars_gives_none_and_no_failure(provider, world):
    symbol = world.symbols[0]
    fetched = provider.fetch({symbol: NOW + timedelta(days=9)}, DAILY, NOW)
    assert fetched.bars.is_empty()
    assert fetched.bars.schema == RAW_SCHEMA
    assert (set(fetched.as_of), fetched.failures) == ({symbol}, {})


def test_an_unknown_symbol_hides_no_others_bars(provider, world):
    fetched = provider.fetch({"NONE": None, world.symbols[0]: None}, DAILY, NOW)
    assert isinstance(fetched.failures["NONE"], UnknownSymbol)
    assert set(fetched.bars["symbol"]) == {world.symbols[0]}


def test_a_timeframe_that_it_does_not_have_fails_each_symbol(provider, world):
    lacking = next((name for name in TIMEFRAMES if name not in provider.native), "5m")
    fetched = provider.fetch(dict.fromkeys(world.symbols), TIMEFRAMES[lacking], NOW)
    assert set(fetched.failures) == set(world.symbols)
    assert {type(failure) for failure in fetched.failures.values()} == {UnknownSymbol}
    assert fetched.bars.is_empty()


def test_asked_for_nothing_it_gives_an_empty_frame(provider):
    fetched = provider.fetch({}, DAILY, NOW)
    assert (fetched.bars.schema, fetched.bars.height, fetched.as_of, fetched.failures) == (RAW_SCHEMA, 0, {}, {})


def test_the_same_call_twice_gives_the_same(provider, world):
    first, second = (provider.fetch(dict.fromkeys(world.symbols), DAILY, NOW) for _ in range(2))
    assert first.bars.equals(second.bars)
    assert first.as_of == second.as_of


def test_a_forming_bar_is_the_last_of_its_symbol(provider, world):
    fetched = provider.fetch(dict.fromkeys(world.symbols), DAILY, NOW)
    for symbol, known in fetched.as_of.items():
        of_it = fetched.bars.filter(pl.col("symbol") == symbol)["ts"]
        assert [ts for ts in of_it if ts + world.closes > known] in ([], [of_it[-1]])


def test_what_it_has_itself_are_timeframes_days_among_them(provider):
    assert set(provider.native) <= set(TIMEFRAMES)
    assert "1d" in provider.native


def test_it_says_how_many_symbols_to_ask_for_at_once_and_whether_requests_are_scarce(provider):
    assert provider.batch >= 1
    assert isinstance(provider.scarce, bool)


@pytest.mark.parametrize("market", ["XNYS", "XLON", "24/7", "FX"])
def test_it_never_knows_bars_before_the_market_does(provider, market):
    assert all(provider.lag(market, TIMEFRAMES[name]) >= timedelta(0) for name in provider.native)


def test_its_history_is_long_enough_for_indicators(provider):
    for name in provider.native:
        enough = 1000 * TIMEFRAMES[name].length if TIMEFRAMES[name].intraday else timedelta(days=3650)
        lookback = provider.lookback(TIMEFRAMES[name])
        assert lookback is None or lookback >= enough


def test_what_it_says_of_symbols_is_of_symbols_it_was_asked_for_and_of_known_markets(provider, world):
    fetched = provider.fetch(dict.fromkeys(world.symbols), DAILY, NOW)
    asked = set(world.symbols)
    assert fetched.instruments.keys() | fetched.seen.keys() | fetched.splits.keys() | fetched.sources.keys() <= asked
    assert {instrument.market for instrument in fetched.instruments.values()} <= MARKETS | {None}
    assert all(seen <= NOW for seen in fetched.seen.values())


def test_it_can_be_closed_twice(provider):
    provider.close()
    provider.close()
