import pytest

from monitor.core.timeframe import TIMEFRAMES, parse_timeframe
from monitor.errors import InputError


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_every_timeframe_is_known_by_its_name(name):
    assert str(parse_timeframe(name)) == name


def test_a_day_and_longer_is_not_intraday():
    assert [name for name in TIMEFRAMES if not TIMEFRAMES[name].intraday] == ["1d", "1wk", "1mo"]


@pytest.mark.parametrize(("text", "near"), [("60m", "1h"), ("daily", "1d"), ("1D", "1d"), ("1w", "1wk")])
def test_another_spelling_is_refused_with_the_nearest_name(text, near):
    with pytest.raises(InputError) as refused:
        parse_timeframe(text)
    assert refused.value.hint == f"did you mean {near!r}?"
