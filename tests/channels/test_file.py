import asyncio
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.channels.file import File, FileSettings
from monitor.errors import TransientFailure, UnknownOutcome
from monitor.ports import Message

NOW = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)


def deliver(path: Path, *ids: str) -> None:
    channel = File("log", FileSettings(path=path))
    for message_id in ids:
        told = Message(message_id, "info", "title\nwith a break", (), ())
        asyncio.run(channel.deliver(message_id, channel.seal(told), NOW))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_each_message_is_one_line_of_json(tmp_path: Path) -> None:
    deliver(tmp_path / "out.jsonl", "a", "b")
    assert ids(tmp_path / "out.jsonl") == ["a", "b"]
    assert (tmp_path / "out.jsonl").read_bytes().endswith(b"}\n")


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    deliver(tmp_path / "out.jsonl", "a")
    assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == 0o600


def test_what_is_in_the_file_already_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"id": "old"}\n')
    deliver(path, "new")
    assert ids(path) == ["old", "new"]


def test_a_torn_line_is_left_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"id": "old"}\n{"id": "to')
    deliver(path, "new")
    old, torn, new = path.read_bytes().splitlines()
    assert torn == b'{"id": "to'
    assert json.loads(old)["id"] == "old"
    assert json.loads(new)["id"] == "new"


def test_a_file_that_was_renamed_away_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    channel = File("log", FileSettings(path=path))
    payload = channel.seal(Message("a", "info", "t", (), ()))
    asyncio.run(channel.deliver("a", payload, NOW))
    path.rename(tmp_path / "out.jsonl.1")
    asyncio.run(channel.deliver("a", payload, NOW))
    assert ids(path) == ids(tmp_path / "out.jsonl.1") == ["a"]


def test_the_home_directory_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    deliver(Path("~/out.jsonl"), "a")
    assert ids(tmp_path / "out.jsonl") == ["a"]


def test_a_directory_that_is_not_there_is_a_transient_failure_with_path_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out.jsonl"
    with pytest.raises(TransientFailure) as failure:
        deliver(path, "a")
    assert failure.value.message == f"{path} cannot be written: No such file or directory"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_a_transient_failure() -> None:
    with pytest.raises(TransientFailure, match="/dev/full cannot be written: No space left on device"):
        deliver(Path("/dev/full"), "a")


def test_a_line_that_was_written_but_may_not_be_on_disk_is_an_unknown_outcome(tmp_path: Path) -> None:
    path = tmp_path / "pipe"  # takes the line, and has no disk to put it on
    os.mkfifo(path)
    with pytest.raises(UnknownOutcome, match="may not be on disk"):
        deliver(path, "a")
