"""A world that lives through the week: its folder, its emulator, and what came of it held against what should have.

*Lost* is what was expected and not told, *unexpected* the reverse. A *copy* is a message that came before under the
same id, as it may where a kill left open whether it had been sent.
"""

import contextlib
import json
import signal
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.crash import ledger
from tests.crash.harness import Zygote
from tests.crash.ledger import Receipt
from tests.week import market
from tests.week.expected import PUNCTUAL, Expected
from tests.week.market import Share
from tests.week.replay import Clock
from tests.week.yahoo import prepare
from tests.yahoo.server import YahooEmulator

A_TURN, HUNG = 5.0, 120  # seconds, and how many turns of them

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Books:
    """What came, what is wrong with it, and totals."""

    receipts: list[Receipt]
    faults: list[str]
    totals: Counter[str]


@dataclass(frozen=True)
class Account:
    """Totals, and what is wrong."""

    totals: Counter[str]
    faults: list[str]


@dataclass
class Week:
    """One world, and how often it was killed."""

    folder: Path
    yahoo: YahooEmulator
    zygote: Zygote
    kills: int = 0

    def live(self, plan: Iterable[Mapping[str, Any]], away: Iterable[Span]) -> list[Mapping[str, Any]]:
        """Live to the end of the week, sleeping through the spans `away`; the fatal points that never came."""
        left = [*plan]
        for begins, ends in [*away, (market.END, market.END)]:
            while left and self.go(begins, **left[0]):
                left.pop(0)
            if not left:
                self.go(begins)
            Clock(self.folder).set(ends)
        return left

    def go(self, until: datetime, **fatal: Any) -> bool:
        """Replay up to an instant; whether that ended at the fatal point."""
        command = self.zygote.start(self.folder, str(self.folder), "--until", until.isoformat(), fatal=fatal)
        code, turns = None, iter(range(HUNG))
        while code is None and next(turns, None) is not None:
            code = self.zygote.ask(wait={"pid": command.pid, "seconds": A_TURN})
        assert code in (0, -signal.SIGKILL), self._log()
        self.kills += code != 0
        return code != 0

    def trail(self) -> list[str]:
        """The points that the last replay came to."""
        return (self.folder / "trail").read_text().splitlines()

    def kill(self, until: datetime, seconds: float) -> bool:
        """Replay, and kill that after so many seconds; whether it had not come to its end by itself."""
        command = self.zygote.start(self.folder, str(self.folder), "--until", until.isoformat())
        if self.zygote.ask(wait={"pid": command.pid, "seconds": seconds}) == 0:
            return False
        command.send(signal.SIGKILL)
        command.wait()
        self.kills += 1
        return True

    def remembered(self) -> dict[str, list[str]]:
        return ledger.remembered(self.folder / "state")

    def books(self, unharmed: Mapping[str, list[str]]) -> Books:
        """What came, and what is wrong with that beside the store, and with the store beside one never killed."""
        receipts, torn = [], 0
        for line in (self.folder / "messages.jsonl").read_bytes().splitlines():
            try:
                receipts.append(Receipt("file", json.loads(line)["id"], line))
            except ValueError:
                torn += 1
        kept = ledger.account(self.folder / "state", receipts, unharmed)
        # A withdrawal, or a bar that comes late, is told after newer bars.
        faults = [fault for fault in kept.faults if not fault.startswith("out of order")]
        errors = [line for line in self._log() if "error" in line or "Traceback" in line]
        return Books(receipts, faults + errors, kept.totals + Counter({"torn lines": torn}))

    def _log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def account(self, expected: Iterable[Expected], unharmed: Mapping[str, list[str]] | None = None) -> Account:
        """What came of the week; `unharmed` is what a world remembers that was never killed."""
        books = self.books(unharmed or {})
        [rows] = ledger.read(self.folder / "state" / "state.db", "SELECT batch_id, updated_at FROM deliveries")
        told_at = {row["batch_id"]: datetime.fromtimestamp(row["updated_at"] / 1e6, UTC) for row in rows}
        first = {receipt.id: receipt for receipt in reversed(books.receipts)}
        told = [Told.of(json.loads(receipt.payload), told_at) for receipt in reversed(first.values())]
        wanted = {one.key: one for one in expected}
        faults = books.faults + _differences(Counter(one.key for one in told), Counter(wanted.keys()))
        faults += [fault for one in told if one.key in wanted for fault in one.faults(wanted[one.key])]
        faults += _disorder(told)
        totals = Counter({
            "kills": self.kills,
            "expected": len(wanted),
            "told": len(told),
            "lost": sum(fault.startswith("lost") for fault in faults),
            "unexpected": sum(fault.startswith("unexpected") for fault in faults),
            "copies": books.totals["copies"],
            "torn lines": books.totals["torn lines"],
            "requests": len(self.yahoo.requests),
            "weeks": 1,
        })  # fmt: skip
        return Account(totals, faults)


@dataclass(frozen=True)
class Told:
    """One event as it was told."""

    key: tuple[str, str, str, datetime, str]
    at: datetime
    text: str

    @classmethod
    def of(cls, message: Mapping[str, Any], told_at: Mapping[str, datetime]) -> "Told":
        [event] = message["events"]
        ts = datetime.fromisoformat(event["ts"])
        key = event["symbol"], event["timeframe"], event["check"], ts, event["kind"]
        return cls(key, told_at[message["id"]], message["text"])

    def faults(self, wanted: Expected) -> Iterator[str]:
        """What is wrong with when it was told, and with what it says of that."""
        if not wanted.possible <= self.at <= wanted.latest:
            yield f"told at {self.at}, and not from {wanted.possible} to {wanted.latest}: {self.key}"
        if (self.at - wanted.due > PUNCTUAL) != ("after the bar was due" in self.text):
            yield f"told {self.at - wanted.due} after it was due, and says: {self.text!r}"
        if wanted.late != ("late: " in self.text):
            yield f"news of an older bar: {wanted.late}, and says: {self.text!r}"


def _differences(told: Counter[Any], wanted: Counter[Any]) -> list[str]:
    lost, unexpected = wanted - told, told - wanted
    return [f"lost: {key}" for key in lost.elements()] + [f"unexpected: {key}" for key in unexpected.elements()]


def _disorder(told: Iterable[Told]) -> list[str]:
    """What was told after a newer bar of the same series and check, though it was no news of an older bar."""
    newest: dict[tuple[str, ...], datetime] = {}
    found = []
    for one in told:
        symbol, timeframe, check, ts, kind = one.key
        if kind == "withdrawn" or "late: " in one.text:
            continue
        if ts < newest.get((symbol, timeframe, check), ts):
            found.append(f"out of order: {one.key}")
        newest[symbol, timeframe, check] = ts
    return found


@contextlib.contextmanager
def week(shares: tuple[Share, ...], zygote: Zygote, folder: Path | None = None) -> Iterator[Week]:
    """A world at the beginning of the week."""
    with tempfile.TemporaryDirectory(prefix="barwatch-week-", dir=folder) as made, YahooEmulator() as yahoo:
        prepare(Path(made), yahoo, shares)
        yield Week(Path(made), yahoo, zygote)
