"""The kinds of providers: their settings, joined into one type by `kind`.

Importing this loads no adapter. A new kind is a file beside this one and a member of the union.
"""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["FilesSettings", "ProviderSettings", "ReplaySettings"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"unknown time zone {name!r}; expected one like 'America/New_York'") from None
    return name


Folder = Annotated[Path, Field(description="where the files <timeframe>/<SYMBOL>.csv or .parquet are")]
Zone = Annotated[str, AfterValidator(_known_zone)]
OptionalZone = Annotated[Zone | None, Field(description="time zone of intraday times written without one; else UTC")]


class FilesSettings(BaseModel):
    """A folder of bar files that another program keeps up to date."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["files"]
    folder: Folder = Path("bars")
    zone: OptionalZone = None


class ReplaySettings(BaseModel):
    """A folder of bar files, served as if each bar had just closed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["replay"]
    folder: Folder = Path("bars")
    zone: OptionalZone = None


ProviderSettings = Annotated[FilesSettings | ReplaySettings, Field(discriminator="kind")]
