"""Every test begins with a clean environment and leaves no logging behind; Yahoo is an emulator.

There is one emulator a worker, emptied between tests, and a yfinance that remembers nothing of the test before.
"""

import os
from datetime import UTC, datetime

import pytest
import structlog

from tests.receivers import WebhookReceiver


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in [*os.environ]:
        if name.startswith(("BARWATCH", "STATE_DIRECTORY", "XDG_STATE_HOME")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()


@pytest.fixture
def receiver():
    with WebhookReceiver() as opened:
        yield opened


@pytest.fixture(scope="session")
def emulator():
    from tests.yahoo.server import YahooEmulator

    with YahooEmulator() as opened:
        yield opened


@pytest.fixture
def yahoo(emulator):
    """The emulator with an empty market, its clock stopped on Wednesday 2026-01-14, 12:00 in New York."""
    from tests.yahoo.market import YahooMarket

    emulator.reset()
    emulator.market = YahooMarket()
    emulator.market.at(datetime(2026, 1, 14, 17, tzinfo=UTC))
    return emulator


@pytest.fixture
def fresh_yfinance(yahoo, monkeypatch, tmp_path):
    """yfinance as a new process has it, with the emulator for the internet."""
    import yfinance
    from yfinance import base, cache, data

    for name, value in yahoo.environment.items():
        monkeypatch.setenv(name, value)
    yfinance.set_tz_cache_location(str(tmp_path / "yfinance"))
    monkeypatch.setattr(cache._TzCacheManager, "_tz_cache", None)
    monkeypatch.setattr(cache._CookieCacheManager, "_Cookie_cache", None)
    monkeypatch.setattr(base, "_tz_info_fetch_ctr", 0)
    data.SingletonMeta._instances.clear()
    data.YfData.cache_get.cache_clear()
    yfinance.config.debug.hide_exceptions = False
    yield yfinance
    yfinance.config.debug.hide_exceptions = True
    if known := data.SingletonMeta._instances.pop(data.YfData, None):
        known._session.close()
    cache._TzDBManager.close_db()
    cache._CookieDBManager.close_db()
