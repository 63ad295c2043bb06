"""The README, the samples and the method, held to the code: what is there is written down, and the other way round."""

import json
import re
import tomllib
from pathlib import Path
from typing import get_args, get_origin

import polars as pl
import pytest
import typer
from pydantic import BaseModel

from monitor import errors
from monitor.channels import ChannelSettings
from monitor.cli.app import app
from monitor.config.settings import Settings, load_settings
from monitor.config.snapshot import load_snapshot
from monitor.config.watchlists import CheckSettings, Watchlist, read_watchlist
from monitor.core.bars import BAR_SCHEMA
from monitor.core.checks import Check
from monitor.core.classify import Method
from monitor.core.evaluate import BEFORE_ALL, Memory, Plan, evaluate
from monitor.core.expressions import parse_condition
from monitor.core.indicators.catalog import INDICATORS
from monitor.core.nodes import written
from monitor.core.timeframe import TIMEFRAMES
from monitor.providers import ProviderSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
SAMPLE = (ROOT / "config.toml").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def table(text, *header):
    """The rows of the table whose header begins so, each by its column."""
    lines = iter(text.splitlines())
    columns = next(cells for cells in map(_cells, lines) if cells[: len(header)] == list(header))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(columns, _cells(line), strict=True)))
    return rows


def _cells(line):
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def named(text, header):
    """What stands in backticks in the first column of a table."""
    return {row[header].strip("`") for row in table(text, header)}


def block(after):
    """The code block that follows these words in the README."""
    return README.partition(after)[2].partition("```\n")[0]


def commands(group, name="barwatch"):
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", {option for parameter in command.params for option in parameter.opts}


COMMANDS = dict(commands(typer.main.get_command(app)))


def models(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models(inner)


def keys(model):
    """The keys of a model and of the models in it → what the README says is their default; a fallback's are those of a
    provider."""
    found = {}
    for name, field in model.model_fields.items():
        if name == "fallback":
            continue
        inside = f"{name}.NAME" if get_origin(field.annotation) is dict else name
        inner = list(models(field.annotation))
        for settings in inner:
            found |= {f"{inside}.{key}": default for key, default in keys(settings).items()}
        if not inner:
            found[name] = _default(field)
    return found


def _default(field):
    if field.is_required():
        return "required"
    return "–" if field.default is None else f"`{json.dumps(field.default, default=str)}`"


def kinds(union):
    return {get_args(settings.model_fields["kind"].annotation)[0] for settings in models(union)}


def test_every_command_has_its_row():
    rows = {re.match(r"`(barwatch( [a-z]+)+)", row["command"])[1] for row in table(README, "command")}
    assert rows == set(COMMANDS)


def test_every_option_in_a_row_is_one_of_its_command():
    for row in table(README, "command"):
        name = re.match(r"`(barwatch( [a-z]+)+)", row["command"])[1]
        assert set(re.findall(r"--[a-z]+", row["what it does"])) <= COMMANDS[name], name


def test_every_command_speaks_json():
    assert [name for name, options in COMMANDS.items() if "--json" not in options] == []


def test_every_exit_code_has_its_row():
    ours = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    assert {str(code) for code in {0, 2, *ours}} == {row["exit code"] for row in table(README, "exit code")}


def test_every_configuration_key_has_its_row():
    assert named(README, "key") == set(keys(Settings))


@pytest.mark.parametrize(("header", "model"), [("watchlist key", Watchlist), ("check key", CheckSettings)])
def test_every_key_of_a_watchlist_has_its_row(header, model):
    assert named(README, header) == set(model.model_fields)


@pytest.mark.parametrize(
    ("header", "defaults"),
    [
        ("key", {name: default for name, default in keys(Settings).items() if not name.endswith("kind")}),
        ("watchlist key", {name: _default(field) for name, field in Watchlist.model_fields.items()}),
        ("check key", {name: _default(field) for name, field in CheckSettings.model_fields.items()}),
    ],
)
def test_a_key_has_the_default_that_its_row_says(header, defaults):
    said = {row[header].strip("`"): row["default"] for row in table(README, header)}
    assert {name: said[name] for name in defaults} == defaults


@pytest.mark.parametrize(("header", "union"), [("provider kind", ProviderSettings), ("channel kind", ChannelSettings)])
def test_every_kind_has_its_row(header, union):
    assert named(README, header) == kinds(union)


def usage(indicator):
    arguments = [*indicator.inputs, *(f"{p.name}={written(p.default)}" for p in indicator.parameters)]
    fields = "".join(f" `.{output}`" for output in indicator.outputs)
    ours = " *" if indicator.source == "Barwatch" else ""
    return f"- `{indicator.name}({', '.join(arguments)})`{fields}{ours} – {indicator.summary} [{indicator.unit}]"


def test_every_indicator_has_its_line():
    listed = {line for line in README.partition("## Indicators")[2].splitlines() if line.startswith("- `")}
    assert listed == set(map(usage, INDICATORS.values()))


@pytest.mark.parametrize("condition", block("true, false or unknown at each closed bar:\n\n```\n").splitlines())
def test_every_condition_of_the_readme_can_be_read(condition):
    assert parse_condition(condition).source == condition


def test_the_watchlist_of_the_readme_is_valid():
    text = block("$ cat watchlists/mine.toml\n")
    watchlist, checks = read_watchlist(text, Path("mine.toml"), Method())
    assert watchlist.symbols == ("ACME", "GLOBEX")
    assert list(checks) == ["trend", "dip"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def sections(text):
    """The sample by section, the keys above all sections under the empty name."""
    first, *rest = re.split(r"^(?:# )?\[(\w+)", text, flags=re.MULTILINE)
    found = {"": first}
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        found[name] = found.get(name, "") + body
    return found


def test_the_sample_has_every_key_in_its_section():
    written_in = sections(SAMPLE)
    split = (key.rpartition(".") for key in keys(Settings))
    missing = [key for section, _, key in split if f"{key} = " not in written_in[section.removesuffix(".NAME")]]
    assert missing == []


def test_the_sample_says_nothing_but_the_defaults(tmp_path):
    (tmp_path / "sample.toml").write_text(SAMPLE, encoding="utf-8")
    (tmp_path / "empty.toml").write_text("")
    sample, empty = (load_settings(tmp_path / name).model_dump_json() for name in ("sample.toml", "empty.toml"))
    assert json.loads(sample.replace(f"{tmp_path}/", "")) == json.loads(empty)


def test_what_is_switched_off_in_the_sample_is_valid_when_it_is_switched_on(tmp_path):
    switched_on = re.sub(r"^# (?=\w+ = |\[)", "", SAMPLE, flags=re.MULTILINE)
    (tmp_path / "config.toml").write_text(switched_on, encoding="utf-8")
    assert set(load_settings(tmp_path / "config.toml").channels) == {"console", "log", "hook"}
    assert set(tomllib.loads(switched_on)["method"]) == set(keys(Settings.model_fields["method"].annotation))


def test_the_sample_watchlists_are_valid():
    assert set(load_snapshot(ROOT / "config.toml").watchlists) == {"us-large-caps", "crypto", "world"}


EXAMPLE = table(METHOD, "bar", "open")
ONE_KEY_CHANGED = table(METHOD, "bar", '`range = "body"`')


def judged(**chosen):
    """The class, the trend and the event of each bar of the method's example."""
    numbers = [[float(row[name]) for name in ("open", "high", "low", "close")] for row in EXAMPLE]
    bars = pl.DataFrame(numbers, ["open", "high", "low", "close"], orient="row").with_columns(
        pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, len(numbers)), time_zone="UTC").alias("ts"),
        symbol=pl.lit("ACME"),
        volume=None,
    )
    bars = bars.with_columns(closed_at="ts").select(pl.col(name).cast(kind) for name, kind in BAR_SCHEMA.items())
    method = Method(**chosen)
    plan = Plan.of({Check(method, early_warning=True): ["ACME"]}, method)
    found = evaluate(bars, plan, TIMEFRAMES["1d"], Memory(), BEFORE_ALL)
    events = {event.ts: event.kind.value for event in found.events}
    return [(bar, trend, events.get(ts, "")) for ts, bar, trend in found.bars.select("ts", "bar", "trend").iter_rows()]


def test_the_example_of_the_method_is_what_barwatch_says():
    assert judged() == [(row["class"], row["trend"], row["event"]) for row in EXAMPLE]


@pytest.mark.parametrize("option", list(ONE_KEY_CHANGED[0])[1:])
def test_the_example_with_a_key_changed_is_what_barwatch_says(option):
    said = [row[option] for row in ONE_KEY_CHANGED]
    assert [f"{bar}, {trend}" for bar, trend, _ in judged(**tomllib.loads(option.strip("`")))] == said
