"""The kinds of channels: their settings joined into one type, and how each is built from its own.

A new kind is a file beside this one, a member of the union and a case below.
"""

from typing import Annotated, TextIO, assert_never

from pydantic import Field

from monitor.channels.console import Console, ConsoleSettings
from monitor.channels.file import File, FileSettings
from monitor.channels.webhook import Webhook, WebhookSettings
from monitor.ports import Channel

ChannelSettings = Annotated[ConsoleSettings | FileSettings | WebhookSettings, Field(discriminator="kind")]

__all__ = ["ChannelSettings", "ConsoleSettings", "FileSettings", "WebhookSettings", "build"]


def build(name: str, settings: ChannelSettings, console: TextIO) -> Channel:
    """The channel that settings describe; `console` is the stream of the console kind.

    Raises: ConfigError.
    """
    match settings:
        case ConsoleSettings():
            return Console(name, console)
        case FileSettings():
            return File(name, settings)
        case WebhookSettings():
            return Webhook(name, settings)
        case _:
            assert_never(settings)
