"""What the providers over plain HTTP have in common: how an API fails, and what becomes of its answers."""

import logging
import math
import threading
import traceback
from datetime import UTC, datetime, timedelta

import pytest

from monitor.core.bars import violations
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import ConfigError, ProviderError, RateLimited, Unreachable
from monitor.providers import TwelveDataSettings
from monitor.providers.alpaca import DELAY
from monitor.providers.twelvedata import TwelveDataProvider
from tests.providers.rest import Said
from tests.providers.rigs import CANARY, RIGS, alpaca, twelvedata

DAILY = TIMEFRAMES["1d"]
NOW = datetime(2025, 11, 26, 20, 30, tzinfo=UTC)
MONDAY = datetime(2025, 11, 24, tzinfo=UTC)
ROW = (MONDAY, 10.0, 12.0, 9.0, 11.0, 100.0)
SINGLE = ["binance", "coinbase", "twelvedata"]  # a request for each symbol


@pytest.fixture(params=RIGS)
def rig(request):
    with RIGS[request.param](NOW) as opened:
        for symbol in opened.symbols:
            opened.give(symbol, [ROW])
        yield opened


def symbols(rig, count):
    """So many symbols of a form that the provider asks for."""
    suffix = "-USD" if "BTC-USD" in rig.symbols else ""
    return [f"{chr(65 + n)}X{suffix}" for n in range(count)]


def known(rig):
    """How long before now the newest is that the provider knows."""
    return DELAY if rig.provider.name == "alpaca" else timedelta(0)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(Said(503, {"message": "later"}), id="unavailable"),
        pytest.param(Said(500, b"<html>"), id="failed"),
        pytest.param(Said(408), id="timed out"),
        pytest.param(Said(200, b"<html>please log in</html>"), id="a page"),
        pytest.param(Said(200, b""), id="empty"),
        pytest.param(Said(200, b'[["'), id="cut short"),
        pytest.param(Said(200, b"[" * 100_000), id="nested"),
        pytest.param(Said(200, {"odd": 1}), id="another form"),
        pytest.param(Said(200, 7), id="a number"),
        pytest.param(Said(200, [["x"] * 12]), id="rows of text"),
        pytest.param(Said(200, [[10**30, 1, 1, 1, 1, 1]]), id="a time out of this world"),
        pytest.param(Said(302, b"", {"Location": "/elsewhere"}), id="a redirect"),
        pytest.param(Said(drop=True), id="hung up"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_answer(rig, said):
    first = next(iter(rig.symbols))
    rig.api.faults.append(said)
    fetched = rig.provider.fetch({first: MONDAY}, DAILY, NOW)
    assert isinstance(fetched.failures[first], Unreachable)
    assert fetched.bars.is_empty()
    assert len(rig.api.asked) == 1 or rig.provider.name == "alpaca"  # which asks for splits all the same


@pytest.mark.parametrize("name", SINGLE)
def test_one_symbols_failure_hides_no_others_bars(name):
    with RIGS[name](NOW) as rig:
        one, two, three = rig.symbols
        for symbol in rig.symbols:
            rig.give(symbol, [ROW])
        rig.api.faults += [None, Said(503)]
        fetched = rig.provider.fetch(dict.fromkeys(rig.symbols, MONDAY), DAILY, NOW)
    assert fetched.failures.keys() == {two}
    assert {*fetched.bars["symbol"]} == fetched.as_of.keys() == {one, three}


@pytest.mark.parametrize("name", SINGLE)
def test_after_five_in_a_row_without_an_answer_it_asks_no_more(name):
    with RIGS[name](NOW) as rig:
        rig.api.faults += [Said(503)] * 9
        fetched = rig.provider.fetch(dict.fromkeys(symbols(rig, 9), MONDAY), DAILY, NOW)
        assert len(rig.api.asked) == 5
    assert {type(failure) for failure in fetched.failures.values()} == {Unreachable}
    assert len(fetched.failures) == 9


@pytest.mark.parametrize("name", SINGLE)
def test_an_answer_in_between_begins_the_count_anew(name):
    with RIGS[name](NOW) as rig:
        fifth = symbols(rig, 9)[4]
        rig.api.faults += [*[Said(503)] * 4, None, *[Said(503)] * 4]
        rig.api.give(fifth.replace("-USD", "USDT") if name == "binance" else fifth, rig.daily, [])
        fetched = rig.provider.fetch(dict.fromkeys(symbols(rig, 9), MONDAY), DAILY, NOW)
        assert len(rig.api.asked) == 9
    assert fetched.as_of.keys() == {fifth}


def test_when_it_is_told_to_wait_it_asks_no_more_and_says_how_long(rig):
    rig.api.faults.append(Said(429, {"message": "too many requests."}, {"Retry-After": "7"}))
    fetched = rig.provider.fetch(dict.fromkeys(rig.symbols), DAILY, NOW)
    assert len(rig.api.asked) == 1
    assert fetched.failures.keys() == rig.symbols.keys()
    for failure in fetched.failures.values():
        assert isinstance(failure, RateLimited)
        assert failure.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "Wed, 26 Nov 2025 20:31:30 GMT"}, timedelta(seconds=90)),
        ({"Retry-After": "999999999"}, timedelta(days=1)),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Wed, 26 Nov 2025 20:00:00 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 41)}, timedelta(seconds=41)),
        ({}, None),
    ],
)
def test_a_wait_is_read_from_what_headers_say_of_it(headers, wait):
    with RIGS["coinbase"](NOW) as rig:
        rig.api.faults.append(Said(429, {"message": "Public rate limit exceeded"}, headers))
        failure = rig.provider.fetch({"BTC-USD": None}, DAILY, NOW).failures["BTC-USD"]
    assert failure.retry_after == wait


def test_a_refusal_for_good_ends_the_asking_in_the_apis_own_words(rig):
    rig.api.faults.append(Said(400, {"message": "so not", "msg": "so not"}))
    fetched = rig.provider.fetch(dict.fromkeys(rig.symbols), DAILY, NOW)
    assert len(rig.api.asked) == 1
    assert {type(failure) for failure in fetched.failures.values()} == {ProviderError}
    assert all(str(failure).endswith("HTTP 400 (so not)") for failure in fetched.failures.values())


def test_rows_that_break_the_rules_of_bars_are_left_out(rig):
    labels = [MONDAY - timedelta(days=n) for n in range(6, 0, -1)]
    first = next(iter(rig.symbols))
    rig.give(
        first,
        [
            (labels[0], 10.0, 9.0, 12.0, 11.0, 100.0),  # the high below the low
            (labels[1], 10.0, 12.0, 9.0, math.nan, 100.0),
            (labels[2], 0.0, 12.0, 0.0, 11.0, 100.0),
            (labels[3], 10.0, 12.0, 9.0, 12.5, 100.0),  # the close above the high
            (labels[4], 10.0, 12.0, 9.0, 11.0, -1.0),
            (labels[5], 10.0, math.inf, 9.0, 11.0, 100.0),
            (MONDAY, 1.0, 1.0, 1.0, 1.0, 1.0),
            ROW,
        ],
    )
    bars = rig.provider.fetch({first: labels[0]}, DAILY, NOW).bars
    assert bars.rows() == [(first, *ROW)]
    assert violations(bars) == []


def test_bars_are_known_as_of_the_servers_clock_where_it_is_behind(rig):
    rig.api.now = NOW - timedelta(seconds=40)
    as_of = rig.provider.fetch(dict.fromkeys(rig.symbols), DAILY, NOW).as_of
    assert set(as_of.values()) == {NOW - timedelta(seconds=40) - known(rig)}


@pytest.mark.parametrize("date", ["Wed, 26 Nov 2025 20:31:00 GMT", "yesterday", ""])
def test_they_are_known_as_of_now_where_it_is_ahead_or_no_clock(rig, date):
    first = next(iter(rig.symbols))
    rig.provider.fetch({first: MONDAY}, DAILY, NOW)
    said = rig.api.say(rig.api.asked[0])
    rig.api.faults.append(Said(said.status, said.body, {"Date": date}))
    assert rig.provider.fetch({first: MONDAY}, DAILY, NOW).as_of == {first: NOW - known(rig)}


def test_a_bar_that_begins_only_later_is_left_out(rig):
    first = next(iter(rig.symbols))
    tomorrow = datetime(2025, 11, 27, tzinfo=UTC)
    rig.give(first, [ROW, (tomorrow, *ROW[1:])])
    assert rig.provider.fetch({first: MONDAY}, DAILY, NOW).bars["ts"].to_list() == [MONDAY]


def test_the_newest_label_is_seen(rig):
    tuesday = MONDAY + timedelta(days=1)
    first, *_ = rig.symbols
    rig.give(first, [ROW, (tuesday, *ROW[1:])])
    assert rig.provider.fetch(dict.fromkeys(rig.symbols), DAILY, NOW).seen[first] == tuesday


def test_closing_ends_a_fetch_under_way_with_failures(rig):
    rig.api.faults.append(Said(hang=True))
    fetched = []
    fetching = threading.Thread(
        target=lambda: fetched.append(rig.provider.fetch(dict.fromkeys(rig.symbols), DAILY, NOW))
    )
    fetching.start()
    assert rig.api.wait_for(1)
    rig.provider.close()
    fetching.join(5)
    assert {type(failure) for failure in fetched[0].failures.values()} == {Unreachable}


def test_once_closed_it_asks_no_more(rig):
    rig.provider.close()
    fetched = rig.provider.fetch(dict.fromkeys(rig.symbols), DAILY, NOW)
    assert fetched.failures.keys() == rig.symbols.keys()
    assert rig.api.asked == []


@pytest.mark.parametrize("opened", [alpaca, twelvedata])
@pytest.mark.parametrize(
    "said",
    [
        Said(400, {"message": f"what is {CANARY}, and {CANARY}-id?"}),
        Said(401, {"message": f"not {CANARY}"}),
        Said(403, {"message": f"not {CANARY}"}),
        Said(429, {"message": f"{CANARY} again"}),
        Said(200, {"odd": CANARY}),
        Said(200, CANARY.encode()),
        Said(500, {"message": CANARY}),
        Said(drop=True),
    ],
)
def test_no_key_stands_in_an_error_or_a_log(opened, said, caplog):
    caplog.set_level(logging.DEBUG)
    with opened(NOW) as rig:
        rig.api.faults.append(said)
        failure = rig.provider.fetch({"AAPL": None}, DAILY, NOW).failures["AAPL"]
        told = [*traceback.format_exception(failure), repr(failure), failure.hint, caplog.text, repr(rig.provider)]
    assert CANARY not in " ".join(told)


def test_no_key_stands_in_a_url(rig):
    rig.provider.fetch(dict.fromkeys(rig.symbols, MONDAY), DAILY, NOW)
    assert all(CANARY not in f"{asked.path} {asked.query}" for asked in rig.api.asked)


def test_it_says_who_is_asking_and_keeps_no_cookies(rig):
    first = next(iter(rig.symbols))
    rig.provider.fetch({first: MONDAY}, DAILY, NOW)
    said = rig.api.say(rig.api.asked[0])
    rig.api.faults.append(Said(said.status, said.body, {"Set-Cookie": "a=b; Path=/"}))
    for _ in range(2):
        rig.provider.fetch({first: MONDAY}, DAILY, NOW)
    assert all(asked.headers["user-agent"].startswith("barwatch/") for asked in rig.api.asked)
    assert all("cookie" not in asked.headers for asked in rig.api.asked)


def test_a_key_may_stand_in_a_file(tmp_path):
    for name in ("id", "secret"):
        (tmp_path / name).write_text(f"{CANARY}-id\n" if name == "id" else f" {CANARY}\n")
    files = {"key_id": None, "key_id_file": tmp_path / "id", "secret": None, "secret_file": tmp_path / "secret"}
    with alpaca(NOW, **files) as rig:
        rig.give("AAPL", [ROW])
        assert rig.provider.fetch({"AAPL": None}, DAILY, NOW).failures == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "must hold one word"), (b"two words", "one word"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_key_file_that_cannot_be_used_is_refused(tmp_path, content, said):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as refused:
        TwelveDataProvider(TwelveDataSettings(kind="twelvedata", key_file=path))
    assert "provider twelvedata: key_file" in refused.value.message
