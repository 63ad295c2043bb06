"""What every kind of channel promises, told by real receivers of each kind."""

import asyncio
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from monitor.channels import FileSettings, WebhookSettings
from monitor.channels.console import Console
from monitor.channels.file import File
from monitor.channels.webhook import Webhook
from monitor.errors import DeliveryError
from monitor.ports import Channel, Message
from tests.receivers import Answer, WebhookReceiver

NOW = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
MESSAGE = Message(
    "20261120T0000-abc", "warning", "Größe – 日本 closed", ("one", "two"), ({"key": "k", "bar": {"close": 1.5}},)
)


class Rig(Protocol):
    """A channel, the same kind of channel that must fail, and what its receiver has, oldest first."""

    channel: Channel
    failing: Channel

    def arrived(self) -> list[bytes]: ...

    def shown(self, payload: bytes) -> bytes:
        """What must arrive for sealed bytes."""
        ...


class ConsoleRig:
    def __init__(self) -> None:
        self.stream = io.StringIO()
        closed = io.StringIO()
        closed.close()
        self.channel = Console("told", self.stream)
        self.failing = Console("told", closed)

    def arrived(self) -> list[bytes]:
        return self.stream.getvalue().encode().splitlines()

    def shown(self, payload: bytes) -> bytes:
        return "2026-11-20T21:30:00Z warning Größe – 日本 closed [20261120T0000-abc]".encode()


class FileRig:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "messages.jsonl"
        self.channel = File("told", FileSettings(path=self.path))
        self.failing = File("told", FileSettings(path=folder / "missing" / "messages.jsonl"))

    def arrived(self) -> list[bytes]:
        return self.path.read_bytes().splitlines()

    def shown(self, payload: bytes) -> bytes:
        return payload


@dataclass
class WebhookRig:
    receiver: WebhookReceiver
    broken: WebhookReceiver

    def __post_init__(self) -> None:
        self.channel = Webhook("told", WebhookSettings(url=self.receiver.url, allow_private=True))
        self.failing = Webhook("told", WebhookSettings(url=self.broken.url, allow_private=True))

    def arrived(self) -> list[bytes]:
        return [request.body for request in self.receiver.received]

    def shown(self, payload: bytes) -> bytes:
        return payload


@pytest.fixture(params=["console", "file", "webhook"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "console":
        yield ConsoleRig()
    elif request.param == "file":
        yield FileRig(tmp_path)
    else:
        with WebhookReceiver() as receiver, WebhookReceiver(then=Answer(500)) as broken:
            yield WebhookRig(receiver, broken)


def deliver(channel: Channel, *payloads: bytes) -> list[str]:
    async def run() -> list[str]:
        try:
            return [await channel.deliver(MESSAGE.id, payload, NOW) for payload in payloads]
        finally:
            await channel.aclose()

    return asyncio.run(run())


def test_sealing_is_pure(rig: Rig) -> None:
    again = Message(MESSAGE.id, MESSAGE.severity, MESSAGE.title, MESSAGE.lines, MESSAGE.events)
    assert rig.channel.seal(MESSAGE) == rig.channel.seal(again)
    assert rig.channel.seal(MESSAGE) == rig.failing.seal(MESSAGE)


def test_what_was_sealed_is_what_arrives(rig: Rig) -> None:
    payload = rig.channel.seal(MESSAGE)
    [answer] = deliver(rig.channel, payload)
    assert rig.arrived() == [rig.shown(payload)]
    assert answer.isprintable()
    assert 0 < len(answer) < 100


def test_the_id_travels_with_the_message(rig: Rig) -> None:
    deliver(rig.channel, rig.channel.seal(MESSAGE))
    assert MESSAGE.id.encode() in rig.arrived()[0]


def test_a_message_delivered_twice_arrives_twice_the_same(rig: Rig) -> None:
    payload = rig.channel.seal(MESSAGE)
    deliver(rig.channel, payload, payload)
    first, second = rig.arrived()
    assert first == second


def test_a_failure_is_one_of_ours_and_names_what_failed(rig: Rig) -> None:
    with pytest.raises(DeliveryError) as failure:
        deliver(rig.failing, rig.failing.seal(MESSAGE))
    assert failure.value.message.isprintable()
    assert len(failure.value.message) > 20


def test_closing_twice_is_closing_once(rig: Rig) -> None:
    async def run() -> None:
        await rig.channel.deliver(MESSAGE.id, rig.channel.seal(MESSAGE), NOW)
        await rig.channel.aclose()
        await rig.channel.aclose()

    asyncio.run(run())


def test_a_channel_keeps_the_name_it_was_given(rig: Rig) -> None:
    assert rig.channel.name == "told"
