"""Every test begins with a clean environment and leaves no logging behind."""

import os

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
