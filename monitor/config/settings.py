"""Settings: what config.toml and the environment may say. Each adapter's settings live beside it; here they are joined.

A key `x` of section `s` may also be given as the environment variable `BARWATCH__S__X`, which wins over the file.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from monitor.channels import ChannelSettings, ConsoleSettings
from monitor.config.files import mistakes, parse, read_text
from monitor.core.classify import Method
from monitor.core.timeframe import Timeframe
from monitor.errors import ConfigError
from monitor.providers import FilesSettings, ProviderSettings

_PATHS = {"watchlists", "state_directory", "folder", "path"}

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class GraceSettings(BaseModel):
    """How long after its close a bar may still be corrected, and so is not taken up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intraday: Annotated[int, Field(ge=0, le=86400, description="seconds, for bars of less than a day")] = 90
    daily: Annotated[int, Field(ge=0, le=86400, description="seconds, for bars of a day and longer")] = 1800

    def of(self, timeframe: Timeframe) -> timedelta:
        return timedelta(seconds=self.intraday if timeframe.intraday else self.daily)


class MethodSettings(BaseModel):
    """The choices of the real/fake bar method, explained in docs/method.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    range: Literal["wicks", "body"] = "wicks"
    min_volume_ratio: Annotated[float, Field(gt=0, le=100)] | None = None
    confirmation: Annotated[int, Field(ge=1, le=10)] = 2
    fakes: Literal["ignore", "break"] = "ignore"

    def method(self) -> Method:
        return Method(self.range, self.min_volume_ratio, self.confirmation, self.fakes)


class Settings(BaseSettings):
    """All of config.toml. Paths are relative to the folder of that file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="BARWATCH__", env_nested_delimiter="__", hide_input_in_errors=True
    )

    watchlists: Path = Field(Path("watchlists"), description="the folder of the watchlists")
    state_directory: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    provider: ProviderSettings = FilesSettings(kind="files")
    fallback: ProviderSettings | None = None
    hole_patience: Annotated[
        int, Field(ge=0, le=10, description="sessions that checks wait for a bar which later ones have overtaken")
    ] = 1
    on_hole: Annotated[
        Literal["skip", "wait"], Field(description="whether checks then go on without it, or wait for ever")
    ] = "skip"
    grace: GraceSettings = GraceSettings()
    method: MethodSettings = MethodSettings()
    channels: dict[Name, ChannelSettings] = {"console": ConsoleSettings(kind="console")}

    @field_validator("provider", mode="before")
    @classmethod
    def _files_by_default(cls, provider: Any) -> Any:
        return {"kind": "files"} | provider if isinstance(provider, dict) else provider  # from the environment alone

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load_settings(path: Path) -> Settings:
    """The settings of a config.toml and the environment.

    Raises: ConfigError.
    """
    text = read_text(path, "run `barwatch init` to write one, or name it with --config")
    values = parse(text, path)
    if isinstance(values.get("provider"), dict):
        values["provider"].setdefault("kind", "files")
    _known_variables()
    try:
        return Settings(**_anchored(values, path.parent.absolute()))
    except ValidationError as error:
        raise mistakes(error, values, text, path, Settings) from None
    except SettingsError as error:
        raise ConfigError(
            f"environment: {error}", "a section is set key by key, such as BARWATCH__GRACE__DAILY=600"
        ) from None


def _known_variables() -> None:
    for name in os.environ:
        section = name.removeprefix("BARWATCH__").split("__")[0].lower()
        if name.startswith("BARWATCH__") and section not in Settings.model_fields:
            near = get_close_matches(section, Settings.model_fields, 1, 0.5)
            hint = f"did you mean BARWATCH__{near[0].upper()}?" if near else "the sections are those of config.toml"
            raise ConfigError(f"environment variable {name}: there is no {section!r} in the configuration", hint)


def _anchored(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same values, each path in them beginning at the folder of the file that names it."""
    anchored: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            anchored[key] = _anchored(value, folder)
        elif isinstance(value, str) and (key in _PATHS or key.endswith("_file")):
            anchored[key] = str(folder / Path(value).expanduser())
        else:
            anchored[key] = value
    return anchored


def state_directory(settings: Settings, folder: Path) -> Path:
    """Where the stores are: as configured in `folder`, else systemd's StateDirectory, else the user's state folder."""
    if settings.state_directory:
        return folder / settings.state_directory
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "barwatch"
