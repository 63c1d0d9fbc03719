"""The settings of one command, as values; and how they come about."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from icebrick.backend.location import Location
from icebrick.config import options
from icebrick.config.file import ConfigFile, find_config_file, load_config_file
from icebrick.config.option import Option
from icebrick.config.resolve import Resolved, Sources
from icebrick.errors import UsageError
from icebrick.secret import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """One repository. Limits in bytes per second; None leaves a choice to the backend."""

    location: Location | None
    password_file: Path | None
    password: Secret | None
    upload_limit: int | None
    download_limit: int | None
    connections: int | None


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """Which entry of clouds.yaml, or None for the OS_* variables."""

    cloud: str | None


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How volumes are read."""

    mode: str


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """This host. `retry_lock` in seconds."""

    state_dir: Path
    retry_lock: int
    my_ip: str | None
    multipath: bool
    enforce_multipath: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it; `resolved` tells of each value where it came from."""

    file: Path | None
    repository: RepositorySettings
    cloud: CloudSettings
    engine: EngineSettings
    agent: AgentSettings
    resolved: tuple[Resolved[Any], ...]


class _Resolver:
    """Resolves options one by one and remembers them for `config show`."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.resolved: list[Resolved[Any]] = []

    def get(self, option: Option[T], section: str | None) -> T:
        found = self.sources.resolve(option, section)
        self.resolved.append(found)
        return found.value

    def get_or(self, option: Option[T | None], section: str, default: T) -> T:
        """For a default that depends on who asks."""
        found = self.sources.resolve(option, section)
        value = default if found.value is None else found.value
        self.resolved.append(replace(found, value=value))
        return value


def load_settings(
    given: Mapping[Option[Any], str], environment: Mapping[str, str], *, file: Path | None = None
) -> Settings:
    """Settle everything. UsageError for what cannot be meant; what is missing is None, for its user to demand."""
    path = find_config_file(file, environment)
    config = ConfigFile() if path is None else load_config_file(path)
    sources, repository_section = _choose(
        Sources(given, environment, config), options.REPOSITORY_LOCATION, options.ENGINE_REPOSITORY
    )
    sources, cloud_section = _choose(sources, options.CLOUD_NAME, options.ENGINE_CLOUD)
    resolver = _Resolver(sources)
    return Settings(
        file=path,
        repository=_repository(resolver, repository_section),
        cloud=CloudSettings(cloud=resolver.get(options.CLOUD_NAME, cloud_section)),
        engine=EngineSettings(mode=resolver.get(options.ENGINE_MODE, options.ENGINE_MODE.section)),
        agent=_agent(resolver, environment),
        resolved=tuple(resolver.resolved),
    )


def _choose(sources: Sources, address: Option[Any], default: Option[str | None]) -> tuple[Sources, str | None]:
    """The section that counts, if any, and the sources without the address where that named the section.

    An address given outright, on the command line or in the environment, takes nothing from a section: a
    password file belongs to its repository.
    """
    kind = address.section
    names = sources.file.names(kind)
    given = sources.command_line.get(address)
    if given is not None and given in names:
        return sources.without(address), f"{kind}:{given}"
    if sources.resolve(address, None).value is not None:
        return sources, None
    chosen = sources.resolve(default, default.section)
    if chosen.value is None:
        return sources, f"{kind}:{names[0]}" if len(names) == 1 else None
    if chosen.value not in names:
        raise UsageError(f"{chosen.origin}: there is no section [{kind}:{chosen.value}]")
    return sources, f"{kind}:{chosen.value}"


def _repository(resolver: _Resolver, section: str | None) -> RepositorySettings:
    password_file, password = _password(resolver, section)
    return RepositorySettings(
        location=resolver.get(options.REPOSITORY_LOCATION, section),
        password_file=password_file,
        password=password,
        upload_limit=resolver.get(options.UPLOAD_LIMIT, section),
        download_limit=resolver.get(options.DOWNLOAD_LIMIT, section),
        connections=resolver.get(options.CONNECTIONS, section),
    )


def _password(resolver: _Resolver, section: str | None) -> tuple[Path | None, Secret | None]:
    """The password file or the password, not both.

    The password file counts more, as with restic; but a password in the environment beats a password file
    that only the INI file names.
    """
    path = resolver.get(options.PASSWORD_FILE, section)
    password = resolver.get(options.PASSWORD, None)
    if password is None or resolver.sources.resolve(options.PASSWORD_FILE, None).value is not None:
        return path, None
    return None, password


def _agent(resolver: _Resolver, environment: Mapping[str, str]) -> AgentSettings:
    return AgentSettings(
        state_dir=resolver.get_or(options.STATE_DIR, "agent", _default_state_dir(environment)),
        retry_lock=resolver.get(options.RETRY_LOCK, "agent"),
        my_ip=resolver.get(options.MY_IP, "agent"),
        multipath=resolver.get(options.MULTIPATH, "agent"),
        enforce_multipath=resolver.get(options.ENFORCE_MULTIPATH, "agent"),
    )


def _default_state_dir(environment: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/icebrick")
    home = Path(environment.get("HOME", "/"))
    return Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state") / "icebrick"
