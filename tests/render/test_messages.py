import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.core.events import Event, EventKind
from monitor.ports import Message
from monitor.render.messages import Notice, compose

BAR = {
    "open": 268.1, "high": 272.0999755859375, "low": 267.5, "close": 271.489990234375, "volume": 48123456.0,
    "bar": "real_bull", "trend": "bullish",
}  # fmt: skip
EVENT = Event(
    check_digest="u3kq6ydzb5x2n7wjr4mhc3tfla",
    symbol="AAPL",
    timeframe="1d",
    ts=datetime(2026, 11, 20, tzinfo=UTC),
    closed_at=datetime(2026, 11, 20, 21, tzinfo=UTC),
    kind=EventKind.TREND_STARTED,
    bar=BAR,
    evidence={"previous": "neutral", "state": "bullish", "run": 2},
)
DUE = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
NOTICE = Notice(EVENT, "trend", ("us-tech",), "warning", DUE, "files", "h5zt2pqv7ndx4kyc6mwr3bjlea")


def notice(check: str = "trend", severity: str = "warning", **event: Any) -> Notice:
    return replace(NOTICE, event=replace(EVENT, **event), check=check, severity=severity)


def told(*notices: Notice, after: timedelta = timedelta(0)) -> Message:
    return compose("m1", notices, DUE + after)


def line(about: str, message: Message) -> str:
    """The one line that begins so."""
    [found] = [line for line in message.lines if line.startswith(about)]
    return found


AT = "at the close of 20 Nov 2026, 271.49"


@pytest.mark.parametrize(
    ("given", "title"),
    [
        (notice(), f"AAPL 1d turned bullish {AT} (trend)"),
        (
            notice(kind=EventKind.TREND_REVERSED, bar=BAR | {"trend": "bearish"}, evidence={"previous": "bullish"}),
            f"AAPL 1d reversed from bullish to bearish {AT} (trend)",
        ),
        (
            notice(kind=EventKind.EARLY_WARNING, bar=BAR | {"bar": "real_bear"}),
            f"AAPL 1d: first real bear bar against the bullish trend {AT} (trend)",
        ),
        (notice("squeeze", kind=EventKind.BECAME_TRUE), f"AAPL 1d: squeeze became true {AT}"),
        (notice("squeeze", kind=EventKind.BECAME_FALSE), f"AAPL 1d: squeeze is no longer true {AT}"),
        (notice("squeeze", kind=EventKind.HOLDS), f"AAPL 1d: squeeze holds {AT}"),
        (
            notice("squeeze", kind=EventKind.WITHDRAWN, evidence={"was": "became_true", "because": "close 271 → 268"}),
            "AAPL 1d: withdrawn: squeeze became true at the close of 20 Nov 2026; close 271 → 268",
        ),
        (
            notice("gap", kind=EventKind.GAP, bar={}, evidence={"bars": 2, "first": "2026-11-19 00:00 UTC"}),
            "AAPL 1d: 2 bars up to that of 20 Nov 2026 did not come; the checks go on without",
        ),
        (
            notice("quarantined", kind=EventKind.QUARANTINED, bar={}, evidence={"because": "9700 after 97"}),
            "AAPL 1d: prices are not believed, its checks wait; 9700 after 97",
        ),
    ],
    ids=[kind.value for kind in EventKind],
)
def test_the_title_says_what_where_and_when(given: Notice, title: str) -> None:
    assert told(given).title == title


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_has_a_title_on_one_line(kind: EventKind) -> None:
    title = told(notice(kind=kind)).title
    assert title.startswith("AAPL 1d")
    assert title.isprintable()
    assert "{" not in title


@pytest.mark.parametrize(
    ("timeframe", "when"),
    [
        ("1h", "20 Nov 2026 21:00 UTC"),
        ("1d", "20 Nov 2026"),
        ("1wk", "the week of 20 Nov 2026"),
        ("1mo", "November 2026"),
    ],
)
def test_the_close_is_named_as_people_name_it(timeframe: str, when: str) -> None:
    assert f"at the close of {when}, " in told(notice(timeframe=timeframe)).title


@pytest.mark.parametrize(
    ("close", "text"),
    [
        (271.49, "271.49"),
        (271.489990234375, "271.49"),
        (250.0, "250"),
        (1.08345, "1.08345"),
        (0.00001234, "0.00001234"),
        (97412.0, "97,412"),
        (97412.35, "97,412.35"),
        (812345.55, "812,345.55"),
        (123456789.0, "123,456,789"),
        (-0.5, "-0.5"),
        (0.1 + 0.2, "0.3"),
        (-0.0, "0"),
        (1e-12, "1e-12"),
        (1e20, "1e+20"),
        (100, "100"),
        (math.nan, "unknown"),
        (-math.inf, "unknown"),
        (None, "unknown"),
    ],
)
def test_a_number_is_told_by_its_size_and_loses_no_meaning(close: float | None, text: str) -> None:
    assert (
        told(notice(bar=BAR | {"close": close})).title
        == f"AAPL 1d turned bullish at the close of 20 Nov 2026, {text} (trend)"
    )


def test_the_lines_say_what_the_bar_was() -> None:
    assert told(NOTICE).lines[:2] == (
        "open 268.1, high 272.1, low 267.5, close 271.49, volume 48,123,456",
        "real bull bar, trend bullish",
    )


def test_a_market_without_volume_has_none_in_its_lines() -> None:
    assert told(notice(bar=BAR | {"volume": None})).lines[0].endswith("close 271.49")


def test_the_lines_say_how_the_trend_moved() -> None:
    assert told(NOTICE).lines[2:5] == ("trend before = neutral", "trend now = bullish", "real bars in a row = 2")


def test_each_part_of_the_condition_has_its_line() -> None:
    parts = {"rsi(close, 14)": 28.4, "rsi(close, 14) < 30": True, "close > 300": False, "ema(close, 200)": None}
    message = told(notice("dip", kind=EventKind.BECAME_TRUE, evidence=parts | {'on("1d", trend)': "bullish"}))
    assert message.lines[2:7] == (
        "rsi(close, 14) = 28.4",
        "rsi(close, 14) < 30 = yes",
        "close > 300 = no",
        "ema(close, 200) = unknown",
        'on("1d", trend) = bullish',
    )


def test_values_that_have_not_settled_are_told_so_once() -> None:
    message = told(notice(evidence={"ema(close, 200)": 1.0, "unsettled": True}))
    assert line("unsettled", message) == "unsettled: with more history before this bar, the values could differ"
    assert not any(line.startswith("unsettled:") for line in told(NOTICE).lines)


def test_the_watchlists_are_named() -> None:
    assert line("watchlist", told(NOTICE)) == "watchlist us-tech"
    assert line("watchlist", told(replace(NOTICE, watchlists=("us-tech", "mine")))) == "watchlists us-tech, mine"


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (timedelta(minutes=2, seconds=1), "2 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=3, hours=4, minutes=5), "3 d 4 h"),
    ],
)
def test_a_late_message_says_how_late_it_is(after: timedelta, text: str) -> None:
    assert told(NOTICE, after=after).lines[-1] == f"{text} after the bar was due"


def test_a_punctual_message_says_nothing_about_time() -> None:
    assert told(NOTICE, after=timedelta(minutes=2)).lines[-1] == "watchlist us-tech"


def test_programs_get_the_whole_event_as_plain_values() -> None:
    assert json.loads(json.dumps(told(NOTICE).events, allow_nan=False)) == [
        {
            "key": EVENT.key,
            "check": "trend",
            "watchlists": ["us-tech"],
            "symbol": "AAPL",
            "timeframe": "1d",
            "ts": "2026-11-20T00:00:00Z",
            "closed_at": "2026-11-20T21:00:00Z",
            "due_at": "2026-11-20T21:30:00Z",
            "kind": "trend_started",
            "severity": "warning",
            "bar": BAR,
            "evidence": {"previous": "neutral", "state": "bullish", "run": 2},
            "check_digest": "u3kq6ydzb5x2n7wjr4mhc3tfla",
            "provider": "files",
            "config_digest": "h5zt2pqv7ndx4kyc6mwr3bjlea",
        }
    ]


def test_a_value_that_is_not_a_number_is_null_to_programs() -> None:
    [event] = told(notice(evidence={"a": math.nan, "b": math.inf, "c": 1.5})).events
    assert event["evidence"] == {"a": None, "b": None, "c": 1.5}


def test_the_same_notices_at_the_same_time_are_the_same_message() -> None:
    assert told(NOTICE, notice("other")) == told(NOTICE, notice("other"))


def test_several_notices_are_counted_and_have_a_line_each() -> None:
    squeeze = notice("squeeze", kind=EventKind.BECAME_TRUE, symbol="MSFT", evidence={"unsettled": True})
    message = told(NOTICE, squeeze, after=timedelta(minutes=5))
    assert message.title == "2 events at the close of 20 Nov 2026: AAPL, MSFT"
    late = "5 min after the bar was due"
    unsettled = "unsettled: with more history before this bar, the values could differ"
    assert message.lines == (
        f"AAPL 1d turned bullish {AT} (trend); {late}",
        f"MSFT 1d: squeeze became true {AT}; {unsettled}; {late}",
    )


def test_several_notices_of_different_closes_name_none_in_the_title() -> None:
    assert told(NOTICE, notice(timeframe="1h")).title == "2 events: AAPL"


def test_a_title_names_five_symbols_and_counts_the_others_while_nothing_else_is_left_out() -> None:
    message = told(*(notice(symbol=f"S{number}") for number in range(12)))
    assert message.title == "12 events at the close of 20 Nov 2026: S0, S1, S2, S3, S4 and 7 more"
    assert len(message.lines) == len(message.events) == 12


@pytest.mark.parametrize(
    ("severities", "highest"), [("info critical warning", "critical"), ("warning info", "warning")]
)
def test_a_message_is_as_severe_as_its_most_severe_notice(severities: str, highest: str) -> None:
    assert told(*(notice(severity=severity) for severity in severities.split())).severity == highest
