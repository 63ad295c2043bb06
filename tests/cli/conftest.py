"""Running `barwatch` in this process, as a shell would: arguments in, output and exit code out."""

import json
from dataclasses import dataclass

import pytest

from monitor.cli.app import main
from tests.worlds import World


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def barwatch(monkeypatch, capfd):
    """Call it with the words of a command line."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["barwatch", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        code = stopped.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)
