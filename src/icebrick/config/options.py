"""Every option there is. Add one here, and it is read, checked, shown by `config show` and documented."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from icebrick.backend.location import SCHEMES, Location, parse_location
from icebrick.config.keep import KEEP_OPTIONS
from icebrick.config.option import (
    ADDRESS,
    COUNT,
    DURATION,
    FLAG,
    IDS,
    NAME,
    NUMBER,
    PATH,
    PROJECT,
    RATE,
    SIZE,
    ByteCount,
    Kind,
    Option,
    Reader,
    choice,
    named_values,
    replacements,
    several,
)
from icebrick.secret import Secret
from icebrick.workflow.naming import checked_tag
from icebrick.workflow.scope import Filter, parse_filter
from icebrick.workflow.select import LATEST, parse_moment

T = TypeVar("T")

ENGINE = "cinder-osbrick"
BACKUP = "backup"
RESTORE = "restore"
_BOTH = (BACKUP, RESTORE)

_LOCATION: Reader[Location | None] = Reader(parse_location, "a repository location", "LOCATION")
_ALWAYS: Reader[bool] = Reader(lambda text: {"yes": True, "true": True}[text.lower()], "yes", "yes", Kind.FLAG)
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
PROJECT_ID: Option[str | None] = Option(
    "repository",
    "project-id",
    PROJECT,
    None,
    "Stands for {project_id} in location and password file. Without it, the project that is logged in to does.",
    flags=("--project-id",),
    actions=_BOTH,
)
UPLOAD_LIMIT: Option[int | None] = Option(
    "repository",
    "upload-limit",
    RATE,
    None,
    "Send at most this much to the repository, in bytes per second, such as 500K or 20M.",
    flags=("--limit-upload",),
)
DOWNLOAD_LIMIT: Option[int | None] = Option(
    "repository",
    "download-limit",
    RATE,
    None,
    "Fetch at most this much from the repository, in bytes per second.",
    flags=("--limit-download",),
)
CONNECTIONS: Option[int | None] = Option(
    "repository", "connections", COUNT, None, "Transfers at once; by default what suits the kind of location."
)

BACKEND_OPTIONS: Option[Mapping[str, str]] = Option(
    "repository",
    "option",
    named_values(SCHEMES),
    {},
    "What the kind of storage is told, by restic's names, such as s3.region=eu-1 or sftp.port=2222; repeatable.",
    flags=("-o", "--option"),
)
CA_FILE: Option[Path | None] = Option(
    "repository",
    "ca-file",
    PATH,
    None,
    "PEM file of the certificates that may sign the storage server's, in place of the system's.",
    flags=("--cacert",),
    environment="RESTIC_CACERT",
)
CLIENT_CERTIFICATE: Option[Path | None] = Option(
    "repository",
    "client-certificate",
    PATH,
    None,
    "PEM file with certificate and private key, for a storage server that asks for one.",
    flags=("--tls-client-cert",),
    environment="RESTIC_TLS_CLIENT_CERT",
)
CACHE: Option[bool] = Option(
    "repository",
    "cache",
    FLAG,
    True,
    "Keep index, snapshots and trees of repositories that are not on this host in a directory here. "
    "What is read from it is verified.",
    flags=("--cache", "--no-cache"),
)
CACHE_DIR: Option[Path | None] = Option(
    "repository",
    "cache-dir",
    PATH,
    None,
    "Where that directory is; by default /var/cache/icebrick for root, else ~/.cache/icebrick.",
    flags=("--cache-dir",),
    environment="RESTIC_CACHE_DIR",
)
CACHE_SIZE: Option[int] = Option(
    "repository",
    "cache-size",
    SIZE,
    ByteCount(4 << 30),
    "How large that directory may become; what was not used for longest goes first.",
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


def _engine(key: str, reader: Reader[T], default: T, text: str, *, actions: tuple[str, ...]) -> Option[T]:
    return Option(ENGINE, key, reader, default, text, flags=(f"--{key}",), actions=actions)


def _switch(key: str, text: str, *, actions: tuple[str, ...]) -> Option[bool]:
    """For once, the command line can say no to what the file says."""
    return Option(ENGINE, key, FLAG, False, text, flags=(f"--{key}", f"--no-{key}"), actions=actions)


ENGINE_REPOSITORY: Option[str | None] = Option(
    ENGINE,
    "repository",
    NAME,
    None,
    "Which [repository:NAME] to use when none is named; by default the only one there is.",
    actions=_BOTH,
)
ENGINE_CLOUD: Option[str | None] = Option(
    ENGINE,
    "cloud",
    NAME,
    None,
    "Which [cloud:NAME] to use when none is named; by default the only one there is.",
    actions=_BOTH,
)
OS_BRICK: Option[bool] = _engine(
    "engine-os-brick",
    _ALWAYS,
    True,
    "Read and write volumes through os-brick. There is no other engine, so this may be left out.",
    actions=_BOTH,
)
SINGLE_VOLUME_ID: Option[tuple[str, ...]] = _engine(
    "single-volume-id", IDS, (), "Scope: these volumes; repeatable.", actions=_BOTH
)
ALL_TENANT_VOLUMES: Option[bool] = _engine(
    "all-tenant-volumes", FLAG, False, "Scope: all volumes of the project that is logged in to.", actions=_BOTH
)
ALL_TENANTS: Option[bool] = _engine(
    "all-tenants", FLAG, False, "Scope: all volumes of all projects; for administrators.", actions=_BOTH
)
CONSISTENCY_GROUPS: Option[tuple[str, ...]] = _engine(
    "consistency-groups",
    IDS,
    (),
    "Scope: all volumes of these groups, those of a group as of one moment; repeatable.",
    actions=_BOTH,
)
FILTER: Option[tuple[Filter, ...]] = _engine(
    "filter",
    several(parse_filter, "filters", "KEY=PATTERN"),
    (),
    "Of the scope only volumes like this: name=, type=, status= or metadata.KEY= with a shell pattern; repeatable. "
    "Of filters with one key one must match, and so for every key.",
    actions=_BOTH,
)
EXCLUDE: Option[tuple[str, ...]] = _engine(
    "exclude",
    IDS,
    (),
    "Leave these volumes of the scope out; or of a restore with a target, files like this; repeatable.",
    actions=_BOTH,
)
MODE: Option[str] = _engine(
    "mode",
    choice("auto", "files", "blocks"),
    "auto",
    "How volumes are read: file by file, or as images of blocks. auto: files where the whole volume is an ext4, xfs or "
    "btrfs that can be mounted and made again, else blocks.",
    actions=(BACKUP,),
)
READER: Option[str] = Option(
    ENGINE,
    "reader",
    choice("vm", "host"),
    "vm",
    "Who reads file systems: a throw-away virtual machine, or this host's own kernel, which is faster, and which a "
    "crafted file system may then attack.",
    flags=("--reader",),
    environment="ICEBRICK_READER",
    actions=(BACKUP,),
)
ENCRYPTED_VOLUMES: Option[str] = _engine(
    "encrypted-volumes",
    choice("auto", "decrypt", "as-stored"),
    "auto",
    "How encrypted volumes are read: decrypted; as they are stored, to be opened with the same key alone; auto: "
    "decrypted where the user may read the key, else as stored.",
    actions=(BACKUP,),
)
COLD: Option[bool] = _switch(
    "cold",
    "Detach each volume from its servers before it is frozen, and attach it again afterwards.",
    actions=(BACKUP,),
)
TAG: Option[tuple[str, ...]] = _engine(
    "tag", several(checked_tag, "words", "TAG"), (), "Mark the snapshots with these; repeatable.", actions=(BACKUP,)
)
RECREATE: Option[bool] = _switch(
    "recreate-vol-on-error",
    "When a temporary volume fails, make it again, at most 3 times; when restoring onto a copy of a volume fails, "
    "or the volume is in an error state, restore onto a new volume.",
    actions=_BOTH,
)
SNAPSHOT: Option[str] = _engine(
    "snapshot",
    Reader(str, f"{LATEST}, or a snapshot's id or its beginning", f"{LATEST}|ID"),
    LATEST,
    "Which snapshot to restore.",
    actions=(RESTORE,),
)
RESTORE_FROM_DATE: Option[datetime | None] = _engine(
    "restore-from-date",
    Reader(parse_moment, "a date or time", "WHEN"),
    None,
    "Restore the newest snapshot not after this date or time.",
    actions=(RESTORE,),
)
IN_PLACE: Option[bool] = _switch(
    "in-place",
    "Write to the volume itself, which must be detached, and not to a copy of it. "
    "A volume snapshot of what it was is kept.",
    actions=(RESTORE,),
)
META_OVERRIDE: Option[bool] = _switch(
    "meta-override",
    "Give the restored volume the name, metadata etc. of the backup, not those it has now.",
    actions=(RESTORE,),
)
REMOVE_OLD_VOL: Option[bool] = _switch(
    "remove-old-vol",
    "Dangerous: delete the volume that the restored one replaces, when that is complete and verified.",
    actions=(RESTORE,),
)
YES: Option[bool] = _engine(
    "yes", FLAG, False, "Do not ask before --remove-old-vol deletes anything.", actions=(RESTORE,)
)
VERIFY: Option[bool] = _switch("verify", "Read everything back and compare it with the backup.", actions=(RESTORE,))
OVERWRITE: Option[str] = _engine(
    "overwrite",
    choice("always", "if-changed", "if-newer", "never"),
    "always",
    "Which files that are there already are overwritten, where files are restored: those with other content; of these "
    "only those that size, time or attributes tell apart; those that are older than the backup's; none.",
    actions=(RESTORE,),
)
DELETE_EXTRA: Option[bool] = _switch(
    "delete-extra", "Remove files that the backup has not, where files are restored.", actions=(RESTORE,)
)
PARALLEL: Option[int] = _engine(
    "parallel",
    NUMBER,
    10,
    "How many volumes at once. Processors and memory for their data do not grow with it.",
    actions=_BOTH,
)
TO_CLOUD: Option[str | None] = _engine(
    "to-cloud",
    NAME,
    None,
    "Restore to this cloud, a [cloud:NAME] or an entry of clouds.yaml, not to the one that was backed up.",
    actions=(RESTORE,),
)
TO_PROJECT: Option[str | None] = _engine(
    "to-project",
    PROJECT,
    None,
    "Restore to this project, not to the one whose volumes they were.",
    actions=(RESTORE,),
)
PROJECT_CLOUD: Option[Mapping[str, str]] = _engine(
    "project-cloud",
    replacements("projects' ids, and entries of clouds.yaml"),
    {},
    "Who accepts volumes for a project in which the user that is logged in has no role; repeatable. "
    "Without one, somebody has to do so by hand.",
    actions=(RESTORE,),
)
MAP_TYPE: Option[Mapping[str, str]] = _engine(
    "map-type",
    replacements("volume types"),
    {},
    "Make new volumes of type NEW where the backup has OLD; repeatable.",
    actions=(RESTORE,),
)
MAP_AZ: Option[Mapping[str, str]] = _engine(
    "map-az",
    replacements("availability zones"),
    {},
    "Make new volumes in zone NEW where the backup has OLD; repeatable.",
    actions=(RESTORE,),
)

DROP_ENCRYPTION: Option[bool] = _switch(
    "drop-encryption",
    "Restore what was in encrypted volumes to volumes that are not encrypted, too.",
    actions=(RESTORE,),
)

STATE_DIR: Option[Path | None] = Option(
    "agent",
    "state-dir",
    PATH,
    None,
    "Where this host notes which runs live; by default /var/lib/icebrick for root, else ~/.local/state/icebrick.",
    environment="ICEBRICK_STATE_DIR",
)
READER_DIR: Option[Path | None] = Option(
    "agent",
    "reader-dir",
    PATH,
    None,
    "Where that which the reader's virtual machines start from is kept; by default reader in the state directory.",
    environment="ICEBRICK_READER_DIR",
)
READER_MEMORY: Option[int] = Option(
    "agent", "reader-memory", SIZE, ByteCount(384 << 20), "Memory of each of the reader's virtual machines."
)
READER_TIME: Option[int] = Option(
    "agent", "reader-time", DURATION, 24 * 3600, "How long the reader may take for one volume in all."
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
    PROJECT_ID,
    UPLOAD_LIMIT,
    DOWNLOAD_LIMIT,
    CONNECTIONS,
    BACKEND_OPTIONS,
    CA_FILE,
    CLIENT_CERTIFICATE,
    CACHE,
    CACHE_DIR,
    CACHE_SIZE,
    *KEEP_OPTIONS,
    CLOUD_NAME,
    ENGINE_REPOSITORY,
    ENGINE_CLOUD,
    OS_BRICK,
    SINGLE_VOLUME_ID,
    ALL_TENANT_VOLUMES,
    ALL_TENANTS,
    CONSISTENCY_GROUPS,
    FILTER,
    EXCLUDE,
    MODE,
    READER,
    ENCRYPTED_VOLUMES,
    COLD,
    TAG,
    RECREATE,
    SNAPSHOT,
    RESTORE_FROM_DATE,
    IN_PLACE,
    META_OVERRIDE,
    REMOVE_OLD_VOL,
    YES,
    VERIFY,
    OVERWRITE,
    DELETE_EXTRA,
    PARALLEL,
    TO_CLOUD,
    TO_PROJECT,
    PROJECT_CLOUD,
    MAP_TYPE,
    MAP_AZ,
    DROP_ENCRYPTION,
    STATE_DIR,
    READER_DIR,
    READER_MEMORY,
    READER_TIME,
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
