"""The command demo: thirteen years of real daily bars through the whole of Barwatch in seconds, a kill -9 included.

Its parts are real: the bars, the stores, the channels, a process that dies. What is its own is the clock, which a
replayed history moves, and the receiver of its webhook, which counts what arrives.
"""

import contextlib
import http.server
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from monitor.cli.output import AsJson, print_json, print_pairs
from monitor.errors import BarwatchError

if TYPE_CHECKING:
    from monitor.config.snapshot import Snapshot
    from monitor.stores.history import History

FATAL = "AAPL 1d: crash"
CRASH = ("AAPL", "1d", "2000-09-29")

CONFIG_TEXT = """\
state_directory = "state"

[channels.console]
kind = "console"

[channels.file]
kind = "file"
path = "messages.jsonl"

[channels.webhook]
kind = "webhook"
url = "{url}"
secret = "whsec_ZGVtbyBvZiBiYXJ3YXRjaCwgbm90IGEgc2VjcmV0"
allow_private = true
"""

WATCHLIST_TEXT = """\
title = "Five large caps, 2000 to 2013"
symbols = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
timeframes = ["1d"]
channels = ["file", "webhook"]

[[checks]]
name = "trend"
rule = "trend"
cooldown = "250 bars"

[[checks]]
name = "golden-cross"
when = "crossover(sma(close, 50), sma(close, 200))"
channels = ["console", "file", "webhook"]

[[checks]]
name = "squeeze"
when = "percentrank(bb_width(close, 20, 2), 252) < 5"
cooldown = "20 bars"
severity = "info"

[[checks]]
name = "crash"
when = "change(close, 1) / prev(close, 1) < -0.3"
severity = "critical"
channels = ["console", "file", "webhook"]
"""


class Receiver:
    """A webhook receiver on loopback that remembers each id and body it was sent.

    Before it answers the first message with `fatal` in it, it calls `strike`: the sender dies without knowing.
    """

    def __init__(self, fatal: str) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.strike: Callable[[], None] | None = None
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append((self.headers["webhook-id"], body))
                if receiver.strike and fatal.encode() in body:
                    strike, receiver.strike = receiver.strike, None
                    strike()
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A sender that was killed is what this receiver is for."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def demo(
    keep: Annotated[Path | None, typer.Option(help="Keep the demo's folder here, to look around in it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay 13 years of real bars through pipeline, store and channels, with a kill -9 half-way; needs no network."""
    from monitor.config.snapshot import load_snapshot

    if keep and keep.exists():
        raise BarwatchError(f"{keep} is there already and was left as it is", "name a new folder with --keep")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    workers: list[subprocess.Popen[str]] = []
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="barwatch-demo-")))
        stack.callback(_end, workers)
        receiver = stack.enter_context(Receiver(FATAL))
        _write(folder, receiver.url)
        workers += [_start(folder), _start(folder)]
        receiver.strike = workers[0].kill
        _say(as_json, "Replaying the daily bars of AAPL FB GOOG IBM MSFT through a real Barwatch: day by day in 2000")
        _say(as_json, "and around each split, else to 2013 with one cycle a month, which takes up the bars it missed.")
        _follow(workers[0], as_json)
        _say(as_json, "kill -9 while it told of 29 Sep 2000, the day AAPL lost half its value. Starting it again.")
        _follow(workers[1], as_json)
        summary = _summary(load_snapshot(folder / "config.toml"), receiver.received)
        summary["seconds"] = round(time.monotonic() - began, 1)
        if as_json:
            print_json(summary)
        else:
            _print(summary)
            _explain(folder)
            typer.echo(f"\n{'Kept in' if keep else 'Next: `barwatch init`, and'} {keep or 'a watchlist of your own.'}")
    if not summary["ok"]:
        raise typer.Exit(1)


def _end(workers: list[subprocess.Popen[str]]) -> None:
    """Nothing of the demo outlives it, however it ends."""
    for worker in workers:
        worker.kill()
        worker.communicate()


def _say(as_json: bool, line: str) -> None:
    typer.echo(line, err=as_json)


def _write(folder: Path, url: str) -> None:
    try:
        (folder / "watchlists").mkdir(parents=True)
        (folder / "config.toml").write_text(CONFIG_TEXT.format(url=url), encoding="utf-8")
        (folder / "watchlists" / "demo.toml").write_text(WATCHLIST_TEXT, encoding="utf-8")
    except OSError as error:
        raise BarwatchError(f"cannot write {folder}: {error.strerror}", "name another folder with --keep") from error


def _start(folder: Path) -> subprocess.Popen[str]:
    """A worker that is loaded and waits: both are started at once to save the time of loading one."""
    command = [sys.executable, "-m", "monitor.cli.demo_worker", str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _follow(worker: subprocess.Popen[str], as_json: bool) -> None:
    """Let a worker go, show what it tells and where it is, until it ends."""
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write("go\n")
    worker.stdin.flush()
    terminal = sys.stderr.isatty()
    for line in worker.stdout:
        step = line.strip()
        if len(step) == len("2000-01-01"):
            sys.stderr.write(f"\r{step} " if terminal else "")
        else:
            sys.stderr.write("\r" if terminal else "")
            typer.echo(step, err=as_json)
    sys.stderr.write("\r           \r" if terminal else "")
    if worker.wait() not in (0, -signal.SIGKILL):
        raise BarwatchError(f"the demo's process ended with exit code {worker.returncode}", "its last lines say why")


def _summary(snapshot: "Snapshot", received: list[tuple[str, bytes]]) -> dict[str, Any]:
    """What the store says happened, what the receiver counted, and what one evaluation of all bars at once expects."""
    from contextlib import closing

    from monitor.cli.inspect import open_store
    from monitor.stores.history import History

    with closing(open_store(snapshot, "bars")) as bars, closing(open_store(snapshot, "state")) as state:
        history = History(state)
        events = history.events(limit=100_000)
        deliveries = history.deliveries(limit=100_000)
        stored = bars.rows("SELECT count(*) FROM bars")[0][0]
        unknown = state.rows("SELECT count(*) FROM attempts WHERE outcome = 'unknown'")[0][0]
        expected = _expected(snapshot, history)
    sent = {told["batch_id"] for told in deliveries if told["channel"] == "webhook" and told["state"] == "sent"}
    ids = Counter(key for key, _ in received)
    copies = sum(ids.values()) - len(ids)
    file_ids = {json.loads(line)["id"] for line in (snapshot.folder / "messages.jsonl").read_text().splitlines()}
    lost = len(sent - ids.keys()) + sum(told["state"] not in ("sent", "suppressed") for told in deliveries)
    found = {event["key"] for event in events}
    return {
        "bars": stored,
        "events": dict(Counter(f"{event['check_name']}: {event['kind'].replace('_', ' ')}" for event in events)),
        "told": dict(Counter(told["channel"] for told in deliveries if told["state"] == "sent")),
        "held": dict(
            Counter(f"{told['check_name']}: {told['reason']}" for told in deliveries if told["state"] == "suppressed")
        ),
        "lost": lost,
        "copies": copies,
        "unknown_outcomes": unknown,
        "same_id_same_bytes": len(ids) == len(set(received)),
        "as_all_at_once": found == expected,
        "ok": lost == 0
        and copies <= unknown
        and found == expected
        and len(ids) == len(set(received))
        and bool(file_ids),
    }


def _expected(snapshot: "Snapshot", history: "History") -> set[str]:
    """The keys of the events that one evaluation of the whole history gives, each check armed where it was."""
    from monitor.core.bars import BAR_SCHEMA
    from monitor.core.evaluate import Memory, Plan, evaluate
    from monitor.providers.sample import sample_bars

    [watched] = snapshot.watched
    keys: set[str] = set()
    for (symbol,), bars in sample_bars().with_columns(closed_at="ts").select(*BAR_SCHEMA).group_by("symbol"):
        for check in watched.checks:
            armed_from = history.armed_from(check.digest, str(symbol), watched.timeframe.name)
            plan = Plan.of({check: [str(symbol)]}, watched.method)
            keys |= {event.key for event in evaluate(bars, plan, watched.timeframe, Memory(), armed_from).events}
    return keys


def _print(summary: dict[str, Any]) -> None:
    def counted(numbers: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(numbers.items())) or "none"

    typer.echo("")
    print_pairs(
        {
            "closed bars": summary["bars"],
            "events": counted(summary["events"]),
            "delivered": counted(summary["told"]),
            "held": counted(summary["held"]),
            "lost": summary["lost"],
            "copies": f"{summary['copies']} at the webhook; sends cut short by the kill: {summary['unknown_outcomes']}",
            "same id, same bytes": "yes" if summary["same_id_same_bytes"] else "NO",
            "as if never killed": "yes, event for event" if summary["as_all_at_once"] else "NO",
            "took": f"{summary['seconds']} s",
        }
    )


def _explain(folder: Path) -> None:
    from datetime import datetime

    from monitor.cli.inspect import explain

    symbol, timeframe, day = CRASH
    typer.echo(f"\n$ barwatch explain {symbol} {timeframe} --at {day} --check crash")
    explain(symbol, timeframe, datetime.fromisoformat(day), "crash", folder / "config.toml")


COMMANDS = {"demo": demo}
