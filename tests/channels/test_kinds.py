import asyncio
import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.channels import ChannelSettings, build
from monitor.channels.console import Console
from monitor.channels.file import File
from monitor.channels.webhook import Webhook
from monitor.ports import Message

SETTINGS: TypeAdapter[ChannelSettings] = TypeAdapter(ChannelSettings)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({"kind": "console"}, Console),
        ({"kind": "file", "path": "out.jsonl"}, File),
        ({"kind": "webhook", "url": "https://host.example/hook"}, Webhook),
    ],
)
def test_settings_name_the_kind_of_channel_that_is_built(written: dict[str, Any], kind: type) -> None:
    channel = build("told", SETTINGS.validate_python(written), io.StringIO())
    assert isinstance(channel, kind)
    assert channel.name == "told"


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"kind": "pigeon"},
        {"kind": "console", "colour": "red"},
        {"kind": "file"},
        {"kind": "file", "path": "a", "mode": "0600"},
    ],
)
def test_an_unknown_kind_or_key_and_a_missing_one_are_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SETTINGS.validate_python(written)


def test_settings_cannot_be_changed() -> None:
    settings = SETTINGS.validate_python({"kind": "file", "path": "a"})
    with pytest.raises(ValidationError):
        settings.path = Path("b")  # type: ignore[union-attr, misc]  # that it cannot be set is the test


def test_every_key_of_every_kind_is_described() -> None:
    for model in SETTINGS.json_schema()["$defs"].values():
        assert all(field.get("description") for field in model["properties"].values())


def test_the_console_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    channel = build("told", SETTINGS.validate_python({"kind": "console"}), sys.stdout)
    payload = channel.seal(Message("m1", "info", "title", (), ()))
    asyncio.run(channel.deliver("m1", payload, datetime(2026, 11, 20, tzinfo=UTC)))
    assert capsys.readouterr().out == "2026-11-20T00:00:00Z info title [m1]\n"
