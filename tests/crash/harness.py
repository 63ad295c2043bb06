"""What a kill is tried on: a folder that Barwatch runs in, with a webhook receiver that counts, and a way to start it.

A *world* is such a folder. Its bars are the same in every world, day by day, so that what is killed and what is not can
be compared.
"""

import contextlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

from standardwebhooks import Webhook

from tests.crash import ledger
from tests.crash.ledger import Account, Receipt
from tests.receivers import WebhookReceiver

HUNG = 30.0
ARMED, LATER = 65, 70  # days of bars with which the checks are armed, and with which they then find something
FIRST_DAY = date(2010, 1, 1)
CHANNELS = 2
SYMBOLS = ("ABC", "DEF", "GHI")
SECRET = "whsec_YSB0ZXN0IHRoYXQga2lsbHMsIG5vdCBhIHNlY3JldA=="

CONFIG = f"""
state_directory = "state"

[grace]
daily = 0

[channels.file]
kind = "file"
path = "messages.jsonl"

[channels.hook]
kind = "webhook"
url_file = "url"
secret = "{SECRET}"
allow_private = true
"""

WATCHLIST = """
market = "24/7"
symbols = ["ABC", "DEF", "GHI"]
timeframes = ["1d"]
channels = ["file", "hook"]

[[checks]]
name = "trend"
rule = "trend"
early_warning = true
cooldown = "3 bars"

[[checks]]
name = "above"
when = "close > sma(close, 5)"
trigger = "change"

[[checks]]
name = "breakout"
when = "close > prev(highest(high, 10), 1)"
cooldown = "5 bars"

[[checks]]
name = "weak"
when = "rsi(close, 7) < 45"
confirm = 2

[[checks]]
name = "lively"
when = "volume > 1.5 * sma(volume, 10)"
severity = "info"
"""


class Zygote:
    """The zygote as seen from outside; every wait for it is bounded. `module` says which one."""

    def __init__(self, module: str = "tests.crash.zygote") -> None:
        self._module = module

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # its threads would not live on in a child
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._answer() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=HUNG)

    def start(self, folder: Path, *arguments: str, fatal: dict[str, Any] | None = None) -> "Command":
        order = {"folder": str(folder), "arguments": arguments, "fatal": fatal}
        return Command(self, self.ask(start=order))

    def ask(self, **order: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], 2 * HUNG)
        assert ready, "the zygote does not answer"
        return json.loads(self._process.stdout.readline())


@dataclass(frozen=True)
class Command:
    """A running `barwatch`."""

    zygote: Zygote
    pid: int

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code."""
        code = self.zygote.ask(wait={"pid": self.pid, "seconds": HUNG})
        if code is None:
            self.send(signal.SIGKILL)
            self.zygote.ask(wait={"pid": self.pid, "seconds": HUNG})
            raise AssertionError(f"the command did not end within {HUNG} s")
        assert isinstance(code, int)
        return code


@dataclass
class World:
    """One folder and its receiver; `totals` counts what was done to it, `faults` what was wrong after a kill."""

    folder: Path
    receiver: WebhookReceiver
    zygote: Zygote
    totals: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def grow(self, days: int) -> None:
        """Replace the files of bars by ones that have so many days."""
        for symbol in SYMBOLS:
            path = self.folder / "bars" / "1d" / f"{symbol}.csv"
            new = path.with_suffix(".new")
            new.write_text("\n".join(["date,open,high,low,close,volume", *_rows(symbol)[:days], ""]))
            new.replace(path)

    def start(self, *arguments: str, fatal: dict[str, Any] | None = None) -> Command:
        return self.zygote.start(self.folder, *arguments, fatal=fatal)

    def once(self, **fatal: Any) -> bool:
        """Run `barwatch once`; whether it came to its fatal point."""
        code = self.start("once", fatal=fatal or None).wait()
        if code == -signal.SIGKILL:
            self._look()
        return code == -signal.SIGKILL

    def kill(self, command: Command) -> None:
        command.send(signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL, "the command had ended by itself"
        self._look()

    def survive(self, kills: int, chance: random.Random, seconds: float) -> int:
        """Kill so many daemons, each with new bars to work on for which it needs so many seconds; the days of bars."""
        days = ARMED
        for _ in range(kills):
            days += chance.randint(2, 8)
            self.grow(days)
            daemon = self.start("run")
            time.sleep(seconds * chance.uniform(0.1, 0.7))
            self.kill(daemon)
        return days

    def trail(self) -> list[str]:
        """The points that the last traced command came to."""
        return (self.folder / "trail").read_text().splitlines()

    def receipts(self) -> tuple[list[Receipt], int]:
        """All that came, and how many lines of the file are torn."""
        hooked = [Receipt("hook", request.id, request.body) for request in self.receiver.received]
        path = self.folder / "messages.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        written = []
        for line in lines:
            with contextlib.suppress(ValueError):
                written.append(Receipt("file", json.loads(line)["id"], line))
        return hooked + written, len(lines) - len(written)

    def account(self, expected: dict[str, list[str]]) -> Account:
        """What came of it in the end."""
        receipts, torn = self.receipts()
        for request in self.receiver.received:
            Webhook(SECRET).verify(request.body, dict(request.headers))
        account = ledger.account(self.folder / "state", receipts, expected)
        totals = account.totals + self.totals + Counter({"torn lines": torn})
        faults = self.faults + account.faults
        if totals["unknown outcomes"] > CHANNELS * totals["kills"]:
            faults.append(f"{totals['unknown outcomes']} unknown outcomes of {totals['kills']} kills")
        return Account(totals, faults)

    def _look(self) -> None:
        """After a kill: the store as it lies there must be sound, and know of all that has come."""
        self.totals["kills"] += 1
        receipts, _ = self.receipts()
        with tempfile.TemporaryDirectory(dir=self.folder) as copy:
            stores = Path(copy, "state")
            if (self.folder / "state").exists():
                shutil.copytree(self.folder / "state", stores, ignore=shutil.ignore_patterns("*-shm"))
            self.faults += ledger.damage(stores) + ledger.uncommitted(stores, receipts)


@dataclass(frozen=True)
class Unharmed:
    """A run that was never killed: what its store remembers, its points, and how long it took."""

    remembered: dict[str, list[str]]
    points: int
    seconds: float


@cache
def _rows(symbol: str) -> list[str]:
    """The bars of a symbol as lines of a file, a walk that is the same every time."""
    walk = random.Random(symbol)
    rows = []
    close = 100.0
    for day in range(5000):
        opened, close = close, round(close * walk.uniform(0.96, 1.04), 2)
        high = round(max(opened, close) * walk.uniform(1, 1.01), 2)
        low = round(min(opened, close) * walk.uniform(0.99, 1), 2)
        rows.append(f"{FIRST_DAY + timedelta(day)},{opened},{high},{low},{close},{walk.randint(500, 2000)}")
    return rows


class Laboratory:
    """Makes worlds: `armed` ones, where every check has seen its first bars, and ones that have never run."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self._folder = folder
        self._zygote = zygote
        self._unharmed: dict[tuple[int, bool], Unharmed] = {}
        with self.world(ARMED, armed=False) as world:
            world.once()
            assert ledger.remembered(world.folder / "state")["cursors"], (world.folder / "log").read_text()
            self._template = world.folder.rename(folder / "template")

    @contextlib.contextmanager
    def world(self, days: int = LATER, *, armed: bool = True) -> Iterator[World]:
        """A world that has so many days of bars before it."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        if armed:
            shutil.copytree(self._template, folder, dirs_exist_ok=True)
        else:
            (folder / "bars" / "1d").mkdir(parents=True)
            (folder / "watchlists").mkdir()
            (folder / "watchlists" / "test.toml").write_text(WATCHLIST)
            (folder / "config.toml").write_text(CONFIG)
        with WebhookReceiver() as receiver:
            (folder / "url").write_text(receiver.url)
            world = World(folder, receiver, self._zygote)
            world.grow(days)
            yield world
        shutil.rmtree(folder, ignore_errors=True)

    def unharmed(self, days: int = LATER, *, armed: bool = True) -> Unharmed:
        """What comes of a world when nothing is killed."""
        if (days, armed) not in self._unharmed:
            with self.world(days, armed=armed) as world:
                began = time.monotonic()
                world.once(number=-1)
                seconds = time.monotonic() - began
                remembered = ledger.remembered(world.folder / "state")
                self._unharmed[days, armed] = Unharmed(remembered, len(world.trail()), seconds)
        return self._unharmed[days, armed]
