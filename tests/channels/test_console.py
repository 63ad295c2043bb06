import asyncio
import io
import os
import pty
from datetime import UTC, datetime, timedelta, timezone

import pytest

from monitor.channels.console import Console
from monitor.errors import TransientFailure
from monitor.ports import Message

NOW = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)


def message(severity: str = "warning", title: str = "AAPL 1d turned bullish") -> Message:
    return Message("20261120T0000-abc", severity, title, ("close 271.49", "[bold]rsi[/bold] = 28.4"), ())


def written(stream: io.TextIOBase, told: Message, now: datetime = NOW) -> None:
    channel = Console("screen", stream)
    asyncio.run(channel.deliver(told.id, channel.seal(told), now))


def on_a_terminal(told: Message) -> str:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as reader, os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        written(terminal, told)
        return reader.read(65536).decode()


def test_off_a_terminal_a_message_is_exactly_one_line() -> None:
    stream = io.StringIO()
    written(stream, message())
    assert stream.getvalue() == "2026-11-20T21:30:00Z warning AAPL 1d turned bullish [20261120T0000-abc]\n"


def test_the_time_is_told_in_utc() -> None:
    stream = io.StringIO()
    written(stream, message(), NOW.astimezone(timezone(timedelta(hours=-5))))
    assert stream.getvalue().startswith("2026-11-20T21:30:00Z ")


def test_a_title_cannot_break_the_line_or_steer_the_terminal() -> None:
    stream = io.StringIO()
    written(stream, message(title="a\nb\x1b[2Jc\u202ed"))
    assert stream.getvalue().endswith(" a b [2Jc d [20261120T0000-abc]\n")
    assert stream.getvalue().count("\n") == 1


def test_a_stream_that_cannot_spell_a_letter_still_gets_the_message() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    written(stream, message(title="Größe"))
    assert raw.getvalue() == b"2026-11-20T21:30:00Z warning Gr??e [20261120T0000-abc]\n"


@pytest.mark.parametrize(("severity", "colour"), [("info", "36"), ("warning", "33"), ("critical", "31")])
def test_on_a_terminal_the_severity_has_a_colour(severity: str, colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert f"\x1b[1;{colour}mAAPL 1d turned bullish" in on_a_terminal(message(severity))


def test_on_a_terminal_every_line_is_shown_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    shown = on_a_terminal(message()).replace("\r\n", "\n")
    assert shown == (
        "2026-11-20T21:30:00Z warning  AAPL 1d turned bullish\n  close 271.49\n  [bold]rsi[/bold] = 28.4\n"
    )


def test_a_reader_that_has_gone_away_is_a_transient_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = io.TextIOWrapper(io.FileIO(writer, "w"), encoding="utf-8", write_through=True)
    with stream, pytest.raises(TransientFailure, match="the console of channel screen cannot be written"):
        written(stream, message())
