import hashlib
from base64 import b32encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.core.events import Event, EventKind, batch_id, delivery_key

EVENT = Event(
    check_digest="abc",
    symbol="AAPL",
    timeframe="1d",
    ts=datetime(2026, 11, 20, tzinfo=UTC),
    closed_at=datetime(2026, 11, 20, 21, tzinfo=UTC),
    kind=EventKind.TREND_STARTED,
    bar={"close": 271.49},
    evidence={},
)


def test_a_key_is_the_label_and_128_bits_of_a_sha256_in_base32():
    text = b'[1,"abc","AAPL","1d","20261120T0000","trend_started",0]'
    digest = b32encode(hashlib.sha256(text).digest()[:16]).decode().strip("=").lower()
    assert EVENT.key == f"20261120T0000-{digest}"
    assert len(digest) == 26


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "MSFT"},
        {"timeframe": "1h"},
        {"check_digest": "abd"},
        {"ts": EVENT.ts + timedelta(days=1)},
        {"kind": EventKind.TREND_REVERSED},
        {"revision": 1},
    ],
)
def test_what_identifies_an_event_changes_its_key(change):
    assert replace(EVENT, **change).key != EVENT.key


def test_prices_evidence_and_the_instant_of_the_close_do_not_change_the_key():
    other = replace(EVENT, bar={"close": 1.0}, evidence={"x": 2.0}, closed_at=EVENT.closed_at + timedelta(hours=1))
    assert other.key == EVENT.key


def test_keys_hold_no_dot_and_sort_by_bar():
    later = replace(EVENT, ts=EVENT.ts + timedelta(days=1))
    assert "." not in EVENT.key
    assert EVENT.key < later.key


def test_each_channel_has_its_own_delivery_of_an_event():
    phone, mail = delivery_key(EVENT.key, "phone"), delivery_key(EVENT.key, "mail")
    assert phone != mail
    assert phone.startswith("20261120T0000-")


def test_a_batch_is_known_by_its_members_in_any_order_and_labelled_by_the_newest():
    later = replace(EVENT, ts=EVENT.ts + timedelta(days=1)).key
    assert batch_id("phone", "", [EVENT.key, later]) == batch_id("phone", "", [later, EVENT.key])
    assert batch_id("phone", "", [EVENT.key, later]).startswith("20261121T0000-")
    assert batch_id("phone", "", [EVENT.key]) != batch_id("phone", "us", [EVENT.key])
