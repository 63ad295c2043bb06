"""The command analyze: bars from a file → classes, trend, indicators, events. Needs no configuration and no store."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.output import AsJson, instant, print_json, print_table, shown
from monitor.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from monitor.core.events import Event

FORMATS = (".csv", ".parquet", ".json")


def analyze(
    file: Annotated[Path, typer.Argument(help="Bars as CSV or Parquet.")],
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="How long each bar is.")] = "1d",
    indicator: Annotated[
        list[str] | None,
        typer.Option("--indicator", "-i", help='A column to add, such as "rsi(close, 14)"; repeatable.'),
    ] = None,
    when: Annotated[
        list[str] | None, typer.Option("--when", "-w", help='A condition, such as "close > 250"; repeatable.')
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="What to call it; the file's name by default.")] = None,
    zone: Annotated[
        str | None, typer.Option(help="Time zone of intraday times written without one; UTC by default.")
    ] = None,
    method_range: Annotated[str, typer.Option("--range", help="Real beyond the `wicks` or the `body`.")] = "wicks",
    confirmation: Annotated[int, typer.Option(min=1, max=10, help="Real bars that make a trend.")] = 2,
    fakes: Annotated[str, typer.Option(help="Whether fake bars `ignore` or `break` a run.")] = "ignore",
    rows: Annotated[int, typer.Option(min=0, help="How many of the newest bars to print.")] = 20,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write every bar: .csv, .parquet or .json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify the bars of a file, follow the trend, compute indicators and list events."""
    from monitor.core.bars import BAR_SCHEMA, PRICES
    from monitor.core.checks import Check
    from monitor.core.classify import Method
    from monitor.core.evaluate import Memory, Plan, evaluate
    from monitor.core.expressions import Program, parse_condition, parse_number
    from monitor.core.timeframe import parse_timeframe
    from monitor.providers.barfile import read_bars

    if output and output.suffix not in FORMATS:
        raise InputError(f"cannot write {output}: unknown format {output.suffix!r}", f"end it in {', '.join(FORMATS)}")
    _one_of("--range", method_range, ("wicks", "body"))
    _one_of("--fakes", fakes, ("ignore", "break"))
    length = parse_timeframe(timeframe)
    method = Method(method_range, None, confirmation, fakes)  # type: ignore[arg-type]  # checked above
    columns = {text: parse_number(text) for text in indicator or []}
    checks = [Check(method, early_warning=True), *(Check(method, parse_condition(text)) for text in when or [])]
    name = symbol or file.stem
    bars = read_bars(file, name, length, zone)
    plan = Plan.of({check: [name] for check in checks}, method)
    found = evaluate(bars.with_columns(closed_at="ts").select(*BAR_SCHEMA), plan, length, Memory(), bars["ts"][0])
    frame = Program.of(columns.values()).apply(found.bars.lazy()).collect(engine="in-memory")
    names = {check.digest: text for check, text in zip(checks, ["trend", *(when or [])], strict=True)}
    table = frame.select("ts", *PRICES, "volume", "bar", "trend").with_columns(
        frame[plan.program.column(column)].alias(text) for text, column in columns.items()
    )
    _write(table, output)
    if as_json:
        print_json(
            {"symbol": name, "timeframe": timeframe, "bars": table.to_dicts(), "events": _events(found.events, names)}
        )
        return
    _print(table, rows, found.events, names)
    if output:
        typer.echo(f"wrote {table.height} bars to {output}")


def _events(events: Sequence["Event"], names: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"ts": event.ts, "check": names[event.check_digest], "event": event.kind, "close": event.bar["close"]}
        | {"evidence": dict(event.evidence), "key": event.key}
        for event in events
    ]


def _print(table: "pl.DataFrame", rows: int, events: Sequence["Event"], names: dict[str, str]) -> None:
    newest = table.tail(rows)
    cells = [[*map(shown, row)] for row in newest.iter_rows()]
    print_table(f"{table.height} bars, the newest {newest.height}", table.columns, cells)
    listed = [
        [shown(e.ts), names[e.check_digest], e.kind.replace("_", " "), shown(e.bar["close"])]
        for e in events[max(len(events) - rows, 0) :]
    ]
    print_table(f"{len(events)} events, the newest {len(listed)}", ["bar", "check", "event", "close"], listed)


def _write(table: "pl.DataFrame", output: Path | None) -> None:
    if output is None:
        return
    try:
        if output.suffix == ".csv":
            table.write_csv(output, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        elif output.suffix == ".parquet":
            table.write_parquet(output)
        else:
            output.write_text(json.dumps(table.to_dicts(), default=instant), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}", "name a folder you may write") from error


def _one_of(option: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(allowed)}", param_hint=option)


COMMANDS = {"analyze": analyze}
