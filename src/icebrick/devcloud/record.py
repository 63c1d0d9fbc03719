"""What is chosen when a devcloud is made, and what must be known to start it again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from icebrick.devcloud.layout import Layout, write_private
from icebrick.errors import DevcloudError
from icebrick.secret import Secret

FileSystem: TypeAlias = Literal["btrfs", "xfs", "none"]
Storage: TypeAlias = Literal["files", "lvm"]
Export: TypeAlias = Literal["loop", "file"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a devcloud is to be.

    `storage`: volumes are files, or thin volumes of LVM that hosts get over iSCSI, each at `portals` addresses; then
    `filesystem` and `export` mean nothing. `filesystem` of the pool: btrfs and xfs copy volumes by reflink, btrfs also
    freezes a group at one instant, "none" is the directory's own file system and makes sparse copies. `export`: what a
    host gets of a volume, a loop device or the plain file. `page_size`: the most entries in one answer of Cinder.
    `compute`: Nova too. `key_manager`: Barbican too, and the volume types luks and luks2, whose keys it has. A port of
    0 is any free one.
    """

    filesystem: FileSystem = "btrfs"
    export: Export = "loop"
    pool_gib: int = 40
    page_size: int = 1000
    keystone_port: int = 0
    cinder_port: int = 0
    debug: bool = False
    compute: bool = False
    key_manager: bool = False
    storage: Storage = "files"
    portals: int = 1


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for good: its number is used again one day, number and start together are not."""

    pid: int
    started: int  # clock ticks since boot


@dataclass(frozen=True, slots=True)
class Record:
    """A devcloud that exists. `owner` is the process it must not outlive, if any."""

    settings: Settings
    keystone_port: int
    cinder_port: int
    password: Secret
    owner: ProcessId | None = None
    nova_port: int | None = None
    """None without Nova."""
    barbican_port: int | None = None
    """None without Barbican."""

    @property
    def keystone_url(self) -> str:
        return f"http://127.0.0.1:{self.keystone_port}/v3"

    @property
    def cinder_url(self) -> str:
        return f"http://127.0.0.1:{self.cinder_port}/v3"

    @property
    def nova_url(self) -> str | None:
        return f"{self.nova_root}/v2.1" if self.nova_port else None

    @property
    def nova_root(self) -> str:
        """Below it are Nova, and the placement service and networks it asks."""
        return f"http://127.0.0.1:{self.nova_port}"

    @property
    def barbican_root(self) -> str:
        return f"http://127.0.0.1:{self.barbican_port}"

    @property
    def barbican_url(self) -> str | None:
        return self.barbican_root if self.barbican_port else None


def save_record(layout: Layout, record: Record) -> None:
    write_private(layout.record, json.dumps(asdict(record), indent=2))


def find_record(layout: Layout) -> Record | None:
    """The record of the devcloud in this directory; None if there is none."""
    try:
        fields = json.loads(layout.record.read_text())
        settings = Settings(**fields.pop("settings"))
        owner = fields.pop("owner")
        password = Secret(fields.pop("password"))
        return Record(settings=settings, password=password, owner=ProcessId(**owner) if owner else None, **fields)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DevcloudError(f"cannot read {layout.record}: {error.strerror}", hint="A devcloud is root's.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DevcloudError(
            f"cannot read {layout.record}", hint="Remove the devcloud with 'icebrick devcloud down'."
        ) from error
