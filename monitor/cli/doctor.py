"""The command doctor: is everything in order, and if not, what to do."""

import contextlib
import os
import shutil
import sys
import textwrap
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli.bars import build, opened, provider_settings
from monitor.cli.findings import FAILED, OK, WARNING, Finding, about_series
from monitor.cli.output import CONFIG, AsJson, ConfigPath, print_json
from monitor.errors import BarwatchError, StoreError, UnknownSymbol

if TYPE_CHECKING:
    from monitor.config.snapshot import Snapshot, Watched
    from monitor.diagnosis import Known
    from monitor.ports import Fetched, Provider
    from monitor.sessions import Sessions

SKEWED, TOO_SKEWED = timedelta(seconds=5), timedelta(minutes=1)
LITTLE_SPACE, NO_SPACE = 1_000_000_000, 100_000_000
ASKED_SINCE = timedelta(days=10)
_COLOURS = {OK: "green", WARNING: "yellow", FAILED: "red"}


def doctor(
    config: ConfigPath = CONFIG,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no provider anything.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examine configuration, store, calendars, providers, clock and every watched series, and say what to do."""
    from monitor.assembly import clock
    from monitor.telemetry import set_up_logging

    set_up_logging("error")
    findings = []
    for finding in examine(config, clock, offline=offline):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.state == FAILED for finding in findings):
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    """One line; on a terminal that is narrower, its rest is set below where it begins."""
    head = f"{finding.state:<9}{finding.check:<15}"
    text = f"{finding.found}; {finding.hint}" if finding.hint else finding.found
    width = max(60, shutil.get_terminal_size().columns) if sys.stdout.isatty() else sys.maxsize
    lines = textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
    typer.echo(typer.style(finding.state, fg=_COLOURS[finding.state]) + lines.removeprefix(finding.state))


def examine(path: Path, clock: Callable[[], datetime], *, offline: bool) -> Iterator[Finding]:
    """Every finding about the configuration at `path`, what it watches and what is stored of that."""
    from monitor.config.snapshot import load_snapshot

    try:
        snapshot = load_snapshot(path)
    except BarwatchError as error:
        yield Finding.of("configuration", error)
        return
    yield _configuration(snapshot, path)
    if snapshot.budget:
        yield Finding("polls", OK, str(snapshot.budget))
    with contextlib.ExitStack() as stack:
        providers = []
        for settings in provider_settings(snapshot):
            try:
                providers.append(build(snapshot, settings, stack))
            except BarwatchError as error:
                yield Finding.of("provider", error)
        known = None
        try:
            known = stack.enter_context(opened(snapshot, providers))
        except StoreError as error:
            begun = (_directory(snapshot) / "bars.db").exists()
            yield Finding.of("store", error, FAILED if begun else WARNING)
        else:
            yield _store(_directory(snapshot))
        yield from Examination(snapshot, known, clock, offline=offline).findings(providers)


def _configuration(snapshot: "Snapshot", path: Path) -> Finding:
    symbols = {symbol for watched in snapshot.watched for symbol in watched.markets}
    lengths = ", ".join(watched.timeframe.name for watched in snapshot.watched)
    return Finding("configuration", OK, f"{path}: {len(symbols)} symbols at {lengths}")


def _store(path: Path) -> Finding:
    """The finding about a store that could be opened."""
    files = [path / "bars.db", path / "state.db"]
    free = shutil.disk_usage(path).free
    found = f"{path}: {', '.join(f'{file.name} {_size(file.stat().st_size)}' for file in files)}; {_size(free)} free"
    if not all(os.access(place, os.W_OK) for place in (path, *files)):
        return Finding("store", WARNING, f"{found}; you may not write there", "Barwatch runs as the user who may")
    if free < LITTLE_SPACE:
        return Finding("store", FAILED if free < NO_SPACE else WARNING, found, "free disk space")
    return Finding("store", OK, found)


def _directory(snapshot: "Snapshot") -> Path:
    from monitor.config.settings import state_directory

    return state_directory(snapshot.settings, snapshot.folder)


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


class Examination:
    """What watches and the network have to say; without a store, only the latter."""

    def __init__(
        self, snapshot: "Snapshot", known: "Known | None", clock: Callable[[], datetime], *, offline: bool
    ) -> None:
        from monitor.assembly import Calendars

        self._snapshot, self._known = snapshot, known
        self._clock, self._offline = clock, offline
        self._sessions: Callable[[str], Sessions] = known.sessions if known else Calendars()
        instruments = known.quality.instruments() if known else {}
        self._watched = [watched.knowing(instruments) for watched in snapshot.watched]
        self._skew: timedelta | None = None

    def findings(self, providers: Sequence["Provider"]) -> Iterator[Finding]:
        yield self._calendars()
        for provider in providers:
            yield self._provider(provider)
        yield self._time()
        if self._known and providers:
            yield from about_series(self._known, self._watched, self._clock())

    def _calendars(self) -> Finding:
        now = self._clock()
        markets = sorted({market for watched in self._watched for market in watched.markets.values()})
        warnings = tuple(warning for market in markets if (warning := self._sessions(market).warning(now)))
        versions = f"exchange-calendars {version('exchange-calendars')}, time zones {_time_zones()}"
        if warnings:
            return Finding("calendars", WARNING, f"{'; '.join(warnings)} ({versions})", concerns=warnings)
        return Finding("calendars", OK, f"{', '.join(markets)} known for the next 45 days ({versions})")

    def _provider(self, provider: "Provider") -> Finding:
        """Whether it answers; one that is to be left alone is not asked."""
        from monitor.diagnosis import moment
        from monitor.stores.breakers import BreakerRecord

        now = self._clock()
        record = self._known.sources.breakers[provider.name].record if self._known else BreakerRecord()
        if record.open_until and now < record.open_until:
            found = f"{provider.name} is not asked before {moment(record.open_until)}: {record.why}"
            return Finding("provider", FAILED, found, "it is asked again then, without your help")
        if not self._offline:
            return self._asked(provider, now)
        if record.open_until:
            return Finding("provider", WARNING, f"{provider.name} was down when it was last asked: {record.why}")
        heard = f"last answered {moment(record.succeeded_at)}" if record.succeeded_at else "has no answer on record"
        return Finding("provider", OK, f"{provider.name} {heard}; not asked now (--offline)")

    def _asked(self, provider: "Provider", now: datetime) -> Finding:
        """Have the newest bars of one watched symbol and keep none of them."""
        from monitor.building import Asked
        from monitor.sources import Sources

        watched = self._watched[-1]
        symbol = self._one_of(provider, watched)
        asked = Asked(watched.timeframe, {symbol: now - ASKED_SINCE}, watched.markets, watched.guessed, now)
        fetched = Sources([provider], self._sessions).fetch(asked, {symbol: provider.name})
        ended = self._clock()
        self._compare(fetched, now, ended)
        if failure := fetched.failures.get(symbol):
            return Finding.of("provider", failure, WARNING if isinstance(failure, UnknownSymbol) else FAILED)
        seconds = (ended - now).total_seconds()
        return Finding("provider", OK, f"{provider.name} gave {symbol} {watched.timeframe} in {seconds:.1f} s")

    def _one_of(self, provider: "Provider", watched: "Watched") -> str:
        """A symbol that the provider is known to have, or at least one that is watched."""
        origins = self._known.quality.origins(watched.timeframe.name, watched.markets) if self._known else {}
        return min(watched.markets, key=lambda symbol: (origins.get(symbol) != provider.name, symbol))

    def _compare(self, fetched: "Fetched", began: datetime, ended: datetime) -> None:
        if fetched.told_at and self._skew is None:
            behind = max(fetched.told_at - ended, timedelta(0))
            self._skew = behind or min(fetched.told_at - began, timedelta(0))

    def _time(self) -> Finding:
        if self._skew is None:
            why = "--offline" if self._offline else "no provider told the time"
            return Finding("clock", OK, f"{self._clock():%Y-%m-%d %H:%M:%S} UTC, compared with no other ({why})")
        size = abs(self._skew)
        state = FAILED if size > TOO_SKEWED else WARNING if size > SKEWED else OK
        if state == OK:
            return Finding("clock", OK, f"within {SKEWED.total_seconds():.0f} s of the provider's")
        side = "behind" if self._skew > timedelta(0) else "ahead of"
        found = f"this machine's clock is {size.total_seconds():.0f} s {side} the provider's"
        return Finding("clock", state, found, "let NTP set it: bars are taken for closed by it")


def _time_zones() -> str:
    """The version of the time zones in use: the system's, else the package's."""
    for folder in zoneinfo.TZPATH:
        with contextlib.suppress(OSError), (Path(folder) / "tzdata.zi").open(encoding="utf-8") as file:
            return file.readline().removeprefix("# version").strip()
    return version("tzdata")


COMMANDS = {"doctor": doctor}
