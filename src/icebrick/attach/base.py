"""How a workflow gets at a volume's bytes on this host."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from icebrick.blockdev import BlockSource, BlockTarget
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.encryption import VolumeKey


class HostDevice(Protocol):
    """A device of this host, connected and checked; valid as long as the connection."""

    @property
    def block_path(self) -> str | None:
        """Where programs and the kernel's file systems find it; None when it is no block device but a regular file."""

    @property
    def size(self) -> int:
        """In bytes."""

    def open_source(self, *, direct: bool = False) -> AbstractContextManager[BlockSource]:
        """All of it for reading; `direct` past this host's page cache."""


class Connector(Protocol):
    """Makes devices of this host from what Cinder answers. All failures are AttachError.

    With a `key`, the device is what is in the encrypted volume: smaller than `size`, which stays the volume's own, by
    what the header takes. NotEncryptedError when there is no header: nothing is ever made encrypted but by
    `encrypt`. Without a key an encrypted volume is seen as it is stored.
    """

    def properties(self) -> ConnectorProperties:
        """What Cinder must know of this host."""

    def open_source(
        self, info: ConnectionInfo, *, size: int, direct: bool = False, key: VolumeKey | None = None
    ) -> AbstractContextManager[BlockSource]:
        """Connect, check that the device is the volume's, open it for reading; disconnect at the end.

        A device that another connection has, or that is not what this one names, is refused before anything is read. A
        back end may round sizes up: it may have a little more than `size` bytes, never less, and all of it is read.
        `direct` reads past this host's page cache, so that a verification sees what the storage holds.
        """

    def open_target(
        self, info: ConnectionInfo, *, size: int, key: VolumeKey | None = None
    ) -> AbstractContextManager[BlockTarget]:
        """The same, for reading and writing."""

    def open_device(
        self, info: ConnectionInfo, *, size: int, key: VolumeKey | None = None
    ) -> AbstractContextManager[HostDevice]:
        """The same for others to open: to be written by them only when the connection is for that."""

    def encrypt(self, info: ConnectionInfo, *, size: int, key: VolumeKey) -> None:
        """Make the volume an encrypted one that opens with the key and holds nothing; what it held is lost."""

    def disconnect(self, info: ConnectionInfo) -> None:
        """Remove what a dead run may have left of this connection; nothing left is fine."""
