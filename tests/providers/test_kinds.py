"""The settings of the kinds of providers."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.providers import FilesSettings, ProviderSettings, ReplaySettings

ADAPTER = TypeAdapter(ProviderSettings)


def test_the_kind_chooses_the_settings():
    assert ADAPTER.validate_python({"kind": "files", "folder": "x"}) == FilesSettings(kind="files", folder=Path("x"))
    assert ADAPTER.validate_python({"kind": "replay"}) == ReplaySettings(kind="replay", folder=Path("bars"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"kind": "yahoo"}, "'files', 'replay'"),
        ({"kind": "files", "foldr": "x"}, "Extra inputs are not permitted"),
        ({"kind": "files", "zone": "Mars/Base"}, "unknown time zone 'Mars/Base'; expected one like 'America/New_York'"),
        ({"kind": "replay", "zone": "../etc"}, "unknown time zone"),
    ],
)
def test_what_cannot_be_meant_is_refused(written, said):
    with pytest.raises(ValidationError, match=said):
        ADAPTER.validate_python(written)


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        FilesSettings(kind="files").folder = Path("y")  # type: ignore[misc]  # that it cannot be set is the test


@pytest.mark.parametrize("settings", [FilesSettings, ReplaySettings])
def test_every_setting_but_the_kind_has_a_description(settings):
    assert all(field.description for name, field in settings.model_fields.items() if name != "kind")


def test_importing_the_kinds_loads_no_adapter():
    code = "import monitor.providers, sys; print([m for m in ('polars', 'pandas', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
