"""The systemd unit, judged by systemd itself, without an instance of it running."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitor.errors import ConfigError, StoreInUse

FOLDER = Path(__file__).parent.parent / "systemd"
UNIT = FOLDER / "barwatch.service"
UNITS = next((path for path in map(Path, ("/usr/lib/systemd/system", "/lib/systemd/system")) if path.exists()), None)
# 1.1 is the floor for a service that needs the internet.
EXPOSURE = 11

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or UNITS is None, reason="systemd-analyze is not installed"
)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def machine(tmp_path):
    """The root of a machine on which Barwatch is installed."""
    shutil.copytree(UNITS, tmp_path / "usr/lib/systemd/system", symlinks=True)
    program = tmp_path / "opt/barwatch/bin/barwatch"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    shutil.copy(UNIT, tmp_path / "etc/systemd/system")
    return tmp_path


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_unit(machine):
    verified = run("systemd-analyze", "verify", "--man=no", f"--root={machine}", UNIT.name)
    assert verified.stderr == ""  # of an unknown key it only warns
    assert verified.returncode == 0


@needs_systemd
def test_the_unit_is_hardened():
    judged = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", str(UNIT))
    assert judged.returncode == 0, "\n".join(line for line in judged.stdout.splitlines() if "✓" not in line)


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_the_user_of_the_unit_is_made(tmp_path):
    (tmp_path / "etc").mkdir()
    made = run(
        "systemd-sysusers",
        f"--root={tmp_path}",
        "--replace=/etc/sysusers.d/barwatch.conf",
        str(FOLDER / "sysusers.conf"),
    )
    assert made.returncode == 0, made.stderr
    assert re.search(r"^barwatch:.*:/var/lib/barwatch:", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    assert re.search(r"^barwatch:", (tmp_path / "etc/group").read_text(), re.MULTILINE)


def test_the_unit_does_not_restart_after_what_does_not_heal_by_itself():
    [codes] = re.findall(r"^RestartPreventExitStatus=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert {int(code) for code in codes.split()} == {ConfigError.exit_code, StoreInUse.exit_code}
