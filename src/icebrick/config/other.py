"""The settings of a second repository, from which a command reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icebrick.config import options
from icebrick.config.option import Option
from icebrick.config.settings import RepositorySettings, load_settings

FROM_LOCATION = "RESTIC_FROM_REPOSITORY"
FROM_PASSWORD_FILE = "RESTIC_FROM_PASSWORD_FILE"  # noqa: S105 - its name
FROM_PASSWORD = "RESTIC_FROM_PASSWORD"  # noqa: S105 - its name

_STAND_FOR: dict[str, Option[Any]] = {
    FROM_PASSWORD_FILE: options.PASSWORD_FILE,
    FROM_PASSWORD: options.PASSWORD,
}


def load_other_repository(
    location: str,
    password_file: str | None,
    given: Mapping[Option[Any], str],
    environment: Mapping[str, str],
    *,
    file: Path | None,
) -> RepositorySettings:
    """That of this location or section; `given` and `environment` tell of the first one.

    What they say of location and password is not for this one; the rest, such as limits, is for both.
    """
    own: dict[Option[Any], str | None] = {
        options.REPOSITORY_LOCATION: location,
        options.PASSWORD_FILE: password_file,
    }
    shared = {option: text for option, text in given.items() if option not in own}
    said = {option: text for option, text in own.items() if text is not None}
    stands = {str(option.environment): environment.get(name) for name, option in _STAND_FOR.items()}
    stands[str(options.REPOSITORY_LOCATION.environment)] = None
    around = {name: text for name, text in environment.items() if name not in stands}
    around |= {name: text for name, text in stands.items() if text}
    return load_settings({**shared, **said}, around, file=file).repository
