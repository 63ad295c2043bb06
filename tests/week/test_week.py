"""A week of market time at speed, killed on its way: every expected event is told once, and none else.

`python -m tests.week` lives through it with hundreds of kills; here is the short version.
"""

import random
import sys
from itertools import chain

import pytest

from monitor.config.budget import poll_budget
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import ConfigError
from monitor.providers import YahooSettings
from tests.crash.harness import Zygote
from tests.week import budget, market
from tests.week.expected import PUNCTUAL, expected
from tests.week.market import DOWNTIME
from tests.week.rig import week

OWED, PAID = "bars: INSERT reevaluations", "bars: DELETE reevaluations"
BEFORE_THE_BARS, AFTER_THE_BARS = {"name": OWED, "after": 2}, {"name": OWED, "after": 3}
BEFORE_THE_STATE, AFTER_THE_STATE = {"name": "state: COMMIT after INSERT deliveries"}, {"name": PAID}
WITHIN = {"name": OWED, "after": 12}
A_DAY_AND_A_HALF = market.at(28, 21), market.at(30, 7)
CHANCE = random.Random(3)
ANYWHERE = ({"number": CHANCE.randrange(3000)} for _ in range(9))

HALVES = {
    "built bars, a lunch break and half a day": (
        ("ALFA", "9988.HK", "ERIC-B.ST"),
        [A_DAY_AND_A_HALF, DOWNTIME],
        [BEFORE_THE_BARS, AFTER_THE_BARS, AFTER_THE_STATE, WITHIN, next(ANYWHERE), AFTER_THE_BARS],
    ),
    "a revision, a fill, a split and a market that never closes": (
        ("BETA", "GAMA", "SPLT", "BTC-USD"),
        [DOWNTIME],
        [next(ANYWHERE), AFTER_THE_BARS, BEFORE_THE_STATE, BEFORE_THE_BARS, AFTER_THE_STATE, AFTER_THE_BARS, WITHIN,
         next(ANYWHERE)],
    ),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="a forked child of a loaded process is safe on Linux")
@pytest.mark.parametrize(("symbols", "away", "plan"), HALVES.values(), ids=HALVES)
def test_a_week_of_kills_and_of_hours_asleep_is_told_once_and_whole(tmp_path, symbols, away, plan):
    shares = tuple(share for share in market.shares() if share.symbol in symbols)
    with Zygote("tests.week.zygote") as zygote, week(shares, zygote, tmp_path) as world:
        survived = world.live(plan, away)
        account = world.account(expected(shares, away))
    assert (survived, account.faults) == ([], [])
    assert account.totals["told"] > 100


@pytest.mark.parametrize("name", ["XNYS", "XSTO", "XHKG", "24/7"])
def test_the_script_keeps_the_hours_that_the_calendar_has(name):
    from exchange_calendars import get_calendar

    calendar = get_calendar(name, start=market.FIRST_DAY.isoformat(), end=market.LAST_DAY.isoformat())
    written = market.sessions(name)
    assert [session.opens for session in written] == list(calendar.opens)
    assert [session.closes for session in written] == list(calendar.closes)
    if name == "XHKG":
        assert [session.lunch for session in written] == list(
            zip(calendar.break_starts, calendar.break_ends, strict=True)
        )


def test_the_script_has_something_to_tell_of_all_that_goes_wrong():
    awaited = expected(market.shares(), away=[DOWNTIME])
    held_up = {one.possible for one in awaited if one.possible - one.due > PUNCTUAL}
    spans = {market.OUTAGE[1], market.BAN[1], DOWNTIME[1]}
    slips = chain.from_iterable(series.slips for share in market.shares() for series in share.series)
    assert held_up >= spans | {slip.until for slip in slips if slip.until != STANDING}
    assert {"withdrawn", "gap", "quarantined", "trend_reversed", "early_warning", "became_false"} <= {
        one.kind for one in awaited
    }


STANDING = market.at(31, 11)  # until then a close is wrong on which nothing hangs


def test_five_hundred_symbols_at_two_timeframes_cost_little(tmp_path):
    assert budget.counted(tmp_path, ("1h", "1d")) < 0.5


def test_what_costs_more_than_yahoo_gives_while_markets_trade_is_refused():
    watched = {TIMEFRAMES[name]: budget.SYMBOLS for name in ("15m", "1h")}
    with pytest.raises(ConfigError, match="2000 requests an hour while markets trade, of 1800 possible"):
        poll_budget(YahooSettings(kind="yahoo"), watched)
