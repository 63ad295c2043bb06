"""The settings of the kinds of providers."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.providers import (
    AlpacaSettings,
    BinanceSettings,
    CoinbaseSettings,
    FilesSettings,
    ProviderSettings,
    ReplaySettings,
    TwelveDataSettings,
    YahooSettings,
)

ADAPTER = TypeAdapter(ProviderSettings)


def test_the_kind_chooses_the_settings():
    assert ADAPTER.validate_python({"kind": "files", "folder": "x"}) == FilesSettings(kind="files", folder=Path("x"))
    assert ADAPTER.validate_python({"kind": "replay"}) == ReplaySettings(kind="replay", folder=Path("bars"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"kind": "stooq"}, "'files', 'replay'"),
        ({"kind": "files", "foldr": "x"}, "Extra inputs are not permitted"),
        ({"kind": "files", "zone": "Mars/Base"}, "unknown time zone 'Mars/Base'; expected one like 'America/New_York'"),
        ({"kind": "replay", "zone": "../etc"}, "unknown time zone"),
        ({"kind": "yahoo", "requests_per_second": 5}, "less than or equal to 2"),
        ({"kind": "yahoo", "requests_per_second": 0}, "greater than 0"),
        ({"kind": "alpaca", "key_id": "a"}, "expected either `secret` or `secret_file`"),
        ({"kind": "alpaca", "key_id": "a", "key_id_file": "b", "secret": "c"}, "either `key_id` or `key_id_file`"),
        ({"kind": "alpaca", "key_id": "a", "secret": "c", "feed": "otc"}, "'delayed_sip', 'sip' or 'iex'"),
        ({"kind": "twelvedata"}, "expected either `key` or `key_file`"),
        ({"kind": "twelvedata", "key": "two words"}, "expected one word"),
        ({"kind": "twelvedata", "key": "a", "credits_per_minute": 0}, "greater than or equal to 1"),
        ({"kind": "binance", "url": "http://api.binance.us"}, "begins with https://"),
        ({"kind": "binance", "url": "https://api.binance.us?a=b"}, "an address like https://api.binance.us"),
        ({"kind": "coinbase", "url": "https://me:secret@host"}, "an address like"),
        ({"kind": "coinbase", "url": "https://host:99999"}, "Port out of range"),
    ],
)
def test_what_cannot_be_meant_is_refused(written, said):
    with pytest.raises(ValidationError, match=said):
        ADAPTER.validate_python(written)


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        FilesSettings(kind="files").folder = Path("y")  # type: ignore[misc]  # that it cannot be set is the test


def test_no_key_is_shown_with_the_settings_or_a_mistake_in_them():
    keys = {"key_id": "c4n4ry", "secret": "c4n4ry-2"}
    assert "c4n4ry" not in repr(ADAPTER.validate_python({"kind": "alpaca", **keys}))
    with pytest.raises(ValidationError) as refused:
        ADAPTER.validate_python({"kind": "alpaca", **keys, "secret_file": "x"})
    assert "c4n4ry" not in str(refused.value)


def test_an_address_on_this_machine_needs_no_certificate():
    settings = ADAPTER.validate_python({"kind": "binance", "url": "http://127.0.0.1:8080/api"})
    assert isinstance(settings, BinanceSettings)


@pytest.mark.parametrize(
    "settings",
    [
        AlpacaSettings,
        BinanceSettings,
        CoinbaseSettings,
        FilesSettings,
        ReplaySettings,
        TwelveDataSettings,
        YahooSettings,
    ],
)
def test_every_setting_but_the_kind_has_a_description(settings):
    assert all(field.description for name, field in settings.model_fields.items() if name != "kind")


def test_importing_the_kinds_loads_no_adapter():
    code = "import monitor.providers, sys; print([m for m in ('polars', 'pandas', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
