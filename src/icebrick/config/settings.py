"""The settings of one command, as values; and how they come about."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.config import options
from icebrick.config.engine import EngineSettings, engine_settings
from icebrick.config.file import ConfigFile, find_config_file, load_config_file, read_text
from icebrick.config.job import Job
from icebrick.config.option import Option
from icebrick.config.resolve import Resolved, Resolver, Sources
from icebrick.config.retention import retention_policy
from icebrick.errors import UsageError
from icebrick.repository.retention import Policy
from icebrick.secret import Secret

PROJECT_FIELD = "{project_id}"


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where files of repositories elsewhere are kept on this host, and at most how many bytes of them."""

    directory: Path
    size: int


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """One repository. Limits in bytes per second; None leaves a choice to the backend."""

    location: Location | None
    password_file: Path | None
    password: Secret | None
    upload_limit: int | None
    download_limit: int | None
    connections: int | None
    project_id: str | None = None
    """What stands for {project_id}, whoever is logged in."""
    backend: BackendOptions = field(default_factory=BackendOptions)
    cache: CacheSettings | None = None

    @property
    def is_of_projects(self) -> bool:
        """Whether each project has a repository of its own."""
        return self.location is not None and PROJECT_FIELD in self.location.address

    def for_project(self, project_id: str | None) -> RepositorySettings:
        """With the project's id in place of {project_id}. UsageError when one is needed and none is known."""
        if not self.is_of_projects and PROJECT_FIELD not in str(self.password_file):
            return self
        if project_id is None:
            raise UsageError(
                f"repository {self.location} is one for each project, and no project is known",
                hint="Name it with --project-id.",
            )
        read_text(options.PROJECT_ID, project_id, "project")  # it goes into paths, and came from who knows where
        return replace(
            self,
            location=None if self.location is None else _filled(self.location, project_id),
            password_file=None
            if self.password_file is None
            else Path(str(self.password_file).replace(PROJECT_FIELD, project_id)),
        )


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """Which entry of clouds.yaml, or None for the OS_* variables."""

    cloud: str | None


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """What the isolated reader may take: bytes of memory for each virtual machine, seconds for each volume."""

    directory: Path
    memory: int
    seconds: int


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """This host. `retry_lock` in seconds."""

    state_dir: Path
    reader: ReaderSettings
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
    retention: Policy
    """The repository's: empty when no source says any."""
    to_cloud: CloudSettings | None
    """Of a restore to another cloud."""
    engine: EngineSettings
    agent: AgentSettings
    resolved: tuple[Resolved[Any], ...]


def load_settings(
    given: Mapping[Option[Any], str],
    environment: Mapping[str, str],
    *,
    file: Path | None = None,
    job: Job | None = None,
) -> Settings:
    """Settle everything. UsageError for what cannot be meant; what is missing is None, for its user to demand."""
    path = find_config_file(file, environment)
    config = ConfigFile() if path is None else load_config_file(path)
    sources, repository_section = _choose(
        Sources(given, environment, config, job), options.REPOSITORY_LOCATION, options.ENGINE_REPOSITORY
    )
    sources, cloud_section = _choose(sources, options.CLOUD_NAME, options.ENGINE_CLOUD)
    resolver = Resolver(sources)
    engine = engine_settings(resolver)
    return Settings(
        file=path,
        repository=_repository(resolver, repository_section, environment),
        retention=retention_policy(resolver, repository_section),
        cloud=CloudSettings(cloud=resolver.get(options.CLOUD_NAME, cloud_section)),
        to_cloud=None if engine.to_cloud is None else _other_cloud(config, engine.to_cloud),
        engine=engine,
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


def _filled(location: Location, project_id: str) -> Location:
    return replace(location, address=location.address.replace(PROJECT_FIELD, project_id))


def _other_cloud(config: ConfigFile, name: str) -> CloudSettings:
    section = f"cloud:{name}"
    return CloudSettings(config.text(section, options.CLOUD_NAME.key) if section in config.sections else name)


def _repository(resolver: Resolver, section: str | None, environment: Mapping[str, str]) -> RepositorySettings:
    password_file, password = _password(resolver, section)
    return RepositorySettings(
        location=resolver.get(options.REPOSITORY_LOCATION, section),
        password_file=password_file,
        password=password,
        project_id=resolver.get(options.PROJECT_ID, section),
        upload_limit=resolver.get(options.UPLOAD_LIMIT, section),
        download_limit=resolver.get(options.DOWNLOAD_LIMIT, section),
        connections=resolver.get(options.CONNECTIONS, section),
        backend=BackendOptions(
            values=resolver.get(options.BACKEND_OPTIONS, section),
            ca_file=resolver.get(options.CA_FILE, section),
            client_certificate=resolver.get(options.CLIENT_CERTIFICATE, section),
            environment=environment,
        ),
        cache=_cache(resolver, section, environment),
    )


def _cache(resolver: Resolver, section: str | None, environment: Mapping[str, str]) -> CacheSettings | None:
    wanted = resolver.get(options.CACHE, section)
    directory = resolver.get_or(options.CACHE_DIR, section, _default_cache_dir(environment))
    size = resolver.get(options.CACHE_SIZE, section)
    return CacheSettings(directory, size) if wanted and directory is not None else None


def _password(resolver: Resolver, section: str | None) -> tuple[Path | None, Secret | None]:
    """The password file or the password, not both.

    The password file counts more, as with restic; but a password in the environment beats a password file
    that only the INI file names.
    """
    path = resolver.get(options.PASSWORD_FILE, section)
    password = resolver.get(options.PASSWORD, None)
    if password is None or resolver.sources.resolve(options.PASSWORD_FILE, None).value is not None:
        return path, None
    return None, password


def _agent(resolver: Resolver, environment: Mapping[str, str]) -> AgentSettings:
    state_dir = resolver.get_or(options.STATE_DIR, "agent", _default_state_dir(environment))
    return AgentSettings(
        state_dir=state_dir,
        reader=ReaderSettings(
            directory=resolver.get_or(options.READER_DIR, "agent", state_dir / "reader"),
            memory=resolver.get(options.READER_MEMORY, "agent"),
            seconds=resolver.get(options.READER_TIME, "agent"),
        ),
        retry_lock=resolver.get(options.RETRY_LOCK, "agent"),
        my_ip=resolver.get(options.MY_IP, "agent"),
        multipath=resolver.get(options.MULTIPATH, "agent"),
        enforce_multipath=resolver.get(options.ENFORCE_MULTIPATH, "agent"),
    )


def _default_cache_dir(environment: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/cache/icebrick")
    home = Path(environment.get("HOME", "/"))
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "icebrick"


def _default_state_dir(environment: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/icebrick")
    home = Path(environment.get("HOME", "/"))
    return Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state") / "icebrick"
