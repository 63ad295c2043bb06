"""The house: what the layout, the imports, the error tree and the wheel promise to whoever works here."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from monitor import errors

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "monitor").rglob("*.py"))
WITH_A_TABLE_OF_KINDS = {"monitor/channels/__init__.py", "monitor/providers/__init__.py"}
STARTER = ("config.toml", "watchlists/us-large-caps.toml")
HEAVY = {"pandas", "yfinance", "exchange_calendars", "sqlite_utils", "apprise", "httpx", "apscheduler"}
RUN = "from monitor.cli import app; app.main()"
RUN_AND_TELL = """
import sys
from monitor.cli.app import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def test_a_package_says_nothing_unless_it_holds_a_table_of_kinds():
    inits = {str(path.relative_to(ROOT)) for path in MODULES if path.name == "__init__.py" and path.stat().st_size}
    assert inits == WITH_A_TABLE_OF_KINDS


def test_every_module_defines_its_words():
    full = [path for path in MODULES if path.stat().st_size]
    assert [path for path in full if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], HEAVY | {"polars", "pydantic"}),
        (["validate", "--config", ROOT / "config.toml"], HEAVY),
    ],
    ids=["help", "validate"],
)
def test_a_quick_command_loads_nothing_heavy(words, heavy):
    done = python(RUN_AND_TELL, *words)
    assert done.returncode == 0
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "monitor" in loaded
    assert loaded & heavy == set()


def test_the_error_tree_is_drawn_as_it_is():
    drawn, above = {}, {}
    for line in errors.__doc__.splitlines():
        if twig := re.match(r"((?:[│├└─]| )*)([A-Z]\w+)(?: {2,}| [a-z]|$)", line):
            depth = len(twig[1]) // 4
            drawn[twig[2]] = above.get(depth - 1, "Exception")
            above[depth] = twig[2]
    drawn.pop("The", None)
    grown = {name: error.__base__.__name__ for name, error in vars(errors).items() if _is_ours(error)}
    assert drawn == grown


def _is_ours(error):
    return isinstance(error, type) and error.__module__ == errors.__name__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [built] = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_has_every_module_and_no_test(wheel):
    packed = {path.relative_to(wheel) for path in wheel.rglob("*.py")}
    assert packed == {path.relative_to(ROOT) for path in MODULES}
    assert (wheel / "monitor" / "py.typed").exists()


@pytest.mark.parametrize("name", STARTER)
def test_the_starter_files_are_the_samples_and_real_files_in_the_wheel(wheel, name):
    assert (wheel / "monitor" / "config" / "starter" / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (wheel / "monitor" / "config" / "starter" / name).is_symlink()


def test_init_of_the_wheel_writes_a_configuration_that_is_valid(wheel, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    where = python("import monitor.cli.app as app; print(app.__file__)", cwd=tmp_path, env=environment)
    assert where.stdout.startswith(str(wheel))
    assert python(RUN, "init", "mine", cwd=tmp_path, env=environment).returncode == 0
    validated = python(RUN, "validate", "--config", "mine/config.toml", cwd=tmp_path, env=environment)
    assert validated.stdout.splitlines()[-1] == "valid"


def test_ci_is_a_program_that_runs_the_readmes_test_command():
    ci = ROOT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert "\nuv run pytest\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^uv run pytest\b", ci.read_text(encoding="utf-8"), re.MULTILINE)
