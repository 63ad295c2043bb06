"""The zygote of the week: it has loaded yfinance and the calendars besides, and its children replay."""

from collections.abc import Callable

from tests.crash import zygote

MARKETS = ("XNYS", "XSTO", "XHKG", "24/7")


def load() -> Callable[[], None]:
    """What a child runs, with everything loaded that it needs."""
    zygote.load()
    import exchange_calendars

    import monitor.providers.yahoo_wire  # noqa: F401
    from monitor import assembly
    from tests.week.replay import main

    until = (assembly.clock() + assembly.CALENDAR_AHEAD).date()
    for market in MARKETS:
        exchange_calendars.get_calendar(market, start=assembly.FIRST_SESSION.isoformat(), end=until.isoformat())
    return main


if __name__ == "__main__":
    command = zygote.serve(load())
    if command:
        command()
