"""Timeframe: the length of a bar. An intraday bar is labelled by its start, a longer one by its session date."""

from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from monitor.errors import InputError


@dataclass(frozen=True, order=True)
class Timeframe:
    """One of the lengths in `TIMEFRAMES`; ordered by length.

    Unit: `length` is nominal; a session's last bar can be shorter, a month differs.
    """

    length: timedelta
    name: str

    @property
    def intraday(self) -> bool:
        return self.length < timedelta(days=1)

    def __str__(self) -> str:
        return self.name


TIMEFRAMES = {
    name: Timeframe(timedelta(minutes=minutes), name)
    for name, minutes in {
        "1m": 1, "2m": 2, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240,
        "1d": 1440, "1wk": 7 * 1440, "1mo": 30 * 1440,
    }.items()
}  # fmt: skip

_OTHER_SPELLINGS = {
    "60m": "1h", "120m": "2h", "240m": "4h", "d": "1d", "daily": "1d", "1day": "1d", "w": "1wk", "1w": "1wk",
    "weekly": "1wk", "m": "1mo", "monthly": "1mo", "1month": "1mo", "h": "1h", "hourly": "1h",
}  # fmt: skip


def parse_timeframe(text: str) -> Timeframe:
    """The timeframe of that name.

    Raises: InputError, with the nearest name.
    """
    if text in TIMEFRAMES:
        return TIMEFRAMES[text]
    lower = text.strip().lower()
    near = _OTHER_SPELLINGS.get(lower) or next(iter(get_close_matches(lower, TIMEFRAMES, 1, 0.3)), "1d")
    raise InputError(f"unknown timeframe {text!r}; expected one of {', '.join(TIMEFRAMES)}", f"did you mean {near!r}?")
