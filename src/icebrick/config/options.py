"""Every option there is. Add one here, and it is read, checked, shown by `config show` and documented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icebrick.backend.location import Location, parse_location
from icebrick.config.option import ADDRESS, COUNT, DURATION, FLAG, NAME, PATH, RATE, Option, Reader, choice
from icebrick.secret import Secret

_LOCATION: Reader[Location | None] = Reader(parse_location, "a repository location", "LOCATION")
_SECRET: Reader[Secret | None] = Reader(Secret, "text", "TEXT")

REPOSITORY_LOCATION: Option[Location | None] = Option(
    "repository",
    "location",
    _LOCATION,
    None,
    "Where the repository is: a directory, or SCHEME:ADDRESS. "
    "On the command line also the NAME of a [repository:NAME].",
    flags=("-r", "--repo"),
    environment="RESTIC_REPOSITORY",
)
PASSWORD_FILE: Option[Path | None] = Option(
    "repository",
    "password-file",
    PATH,
    None,
    "File that holds the repository's password; white space around it does not count.",
    flags=("-p", "--password-file"),
    environment="RESTIC_PASSWORD_FILE",
)
PASSWORD: Option[Secret | None] = Option(
    "repository",
    "password",
    _SECRET,
    None,
    "The repository's password itself. Used when no password file is named; asked for at a terminal when neither is.",
    environment="RESTIC_PASSWORD",
    secret=True,
)
UPLOAD_LIMIT: Option[int | None] = Option(
    "repository", "upload-limit", RATE, None, "Send at most this much to the repository, in bytes per second."
)
DOWNLOAD_LIMIT: Option[int | None] = Option(
    "repository", "download-limit", RATE, None, "Fetch at most this much from the repository, in bytes per second."
)
CONNECTIONS: Option[int | None] = Option(
    "repository", "connections", COUNT, None, "Transfers at once; by default what suits the kind of location."
)

CLOUD_NAME: Option[str | None] = Option(
    "cloud",
    "cloud",
    NAME,
    None,
    "Which entry of clouds.yaml to use; without one the OS_* variables count. "
    "On the command line also the NAME of a [cloud:NAME].",
    flags=("--cloud",),
    environment="OS_CLOUD",
)
ENGINE_REPOSITORY: Option[str | None] = Option(
    "cinder-osbrick",
    "repository",
    NAME,
    None,
    "Which [repository:NAME] to use when none is named; by default the only one there is.",
)
ENGINE_CLOUD: Option[str | None] = Option(
    "cinder-osbrick",
    "cloud",
    NAME,
    None,
    "Which [cloud:NAME] to use when none is named; by default the only one there is.",
)
ENGINE_MODE: Option[str] = Option(
    "cinder-osbrick",
    "mode",
    choice("blocks"),
    "blocks",
    "How volumes are read: as images of blocks.",
    flags=("--mode",),
)

STATE_DIR: Option[Path | None] = Option(
    "agent",
    "state-dir",
    PATH,
    None,
    "Where this host notes which runs live; by default /var/lib/icebrick for root, else ~/.local/state/icebrick.",
    environment="ICEBRICK_STATE_DIR",
)
RETRY_LOCK: Option[int] = Option(
    "agent",
    "retry-lock",
    DURATION,
    0,
    "How long to wait while another process holds a lock on the repository.",
    flags=("--retry-lock",),
)
MY_IP: Option[str | None] = Option(
    "agent", "my-ip", ADDRESS, None, "The address that Cinder exports volumes to; by default the host name's."
)
MULTIPATH: Option[bool] = Option("agent", "multipath", FLAG, False, "Use all paths to a volume, through multipathd.")
ENFORCE_MULTIPATH: Option[bool] = Option(
    "agent", "enforce-multipath", FLAG, False, "Fail where multipathd does not run, instead of using one path."
)

OPTIONS: tuple[Option[Any], ...] = (
    REPOSITORY_LOCATION,
    PASSWORD_FILE,
    PASSWORD,
    UPLOAD_LIMIT,
    DOWNLOAD_LIMIT,
    CONNECTIONS,
    CLOUD_NAME,
    ENGINE_REPOSITORY,
    ENGINE_CLOUD,
    ENGINE_MODE,
    STATE_DIR,
    RETRY_LOCK,
    MY_IP,
    MULTIPATH,
    ENFORCE_MULTIPATH,
)

SECTIONS: dict[str, str] = {
    "repository": "One repository; any number of them, each under a name: `[repository:NAME]`.",
    "cloud": "One cloud as one user; any number of them, each under a name: `[cloud:NAME]`.",
    "cinder-osbrick": "What backups and restores of volumes do by default.",
    "agent": "This host.",
}
NAMED_SECTIONS = frozenset({"repository", "cloud"})
