"""Event: an immutable fact at a closed bar, and the keys under which it and its deliveries are known for ever.

A key is the bar's label, a dash, and 26 characters of base32: the first 128 bits of a sha256 over canonical JSON. It
depends on what happened where and when, never on prices, hosts, the time of evaluation or a counter, so that
recomputing an event finds it again.
"""

import hashlib
import json
from base64 import b32encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

KEY_VERSION = 1

Value = float | bool | str | None


class EventKind(StrEnum):
    """What happened at the bar."""

    TREND_STARTED = "trend_started"
    TREND_REVERSED = "trend_reversed"
    EARLY_WARNING = "early_warning"
    BECAME_TRUE = "became_true"
    BECAME_FALSE = "became_false"
    HOLDS = "holds"
    WITHDRAWN = "withdrawn"
    GAP = "gap"
    QUARANTINED = "quarantined"


def digest(meaning: object) -> str:
    """26 characters of base32: the first 128 bits of the sha256 of the canonical JSON of `meaning`."""
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return b32encode(hashlib.sha256(text.encode()).digest()[:16]).decode().rstrip("=").lower()


def label(ts: datetime) -> str:
    """A bar's label as it stands in keys: `20261120T0000`."""
    return ts.strftime("%Y%m%dT%H%M")


@dataclass(frozen=True)
class Event:
    """What a check found at one closed bar of one symbol.

    `bar` holds the bar's prices, volume, class and trend; `evidence` the value of each part of the check's condition.
    Unit: `ts`, `closed_at` aware, UTC; prices in the instrument's currency.
    """

    check_digest: str
    symbol: str
    timeframe: str
    ts: datetime
    closed_at: datetime
    kind: EventKind
    bar: Mapping[str, Value]
    evidence: Mapping[str, Value]
    revision: int = 0

    @cached_property
    def key(self) -> str:
        at = label(self.ts)
        identity = [KEY_VERSION, self.check_digest, self.symbol, self.timeframe, at, self.kind, self.revision]
        return f"{at}-{digest(identity)}"


def delivery_key(event_key: str, channel: str) -> str:
    """The key of the one decision to tell an event on a channel, or not to."""
    return f"{event_key.partition('-')[0]}-{digest([KEY_VERSION, 'delivery', event_key, channel])}"


def batch_id(channel: str, group: str, event_keys: Iterable[str]) -> str:
    """The id a receiver sees: the same for the same events, whenever and however often they are sent."""
    keys = sorted(event_keys)
    return f"{keys[-1].partition('-')[0]}-{digest([KEY_VERSION, 'batch', channel, group, keys])}"
