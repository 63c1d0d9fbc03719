"""A host that attaches FakeCloud's volumes: what is exported can be opened, in the mode it was exported in."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from icebrick.attach.base import Connector, HostDevice
from icebrick.attach.blockio import data_extents
from icebrick.blockdev import BlockSource, BlockTarget, Extent
from icebrick.cloud.base import Mode
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.encryption import VolumeKey
from icebrick.errors import AttachError
from icebrick.testing.bytesdevice import BytesTarget, ReadOnlyTarget
from icebrick.testing.fakecontainer import make_container, open_container
from icebrick.testing.fakerecords import DRIVER, FakeRecords
from icebrick.testing.faultplan import FaultPlan
from icebrick.testing.loopdevice import loop_device

_PIECE = 1 << 20


class FakeConnector(Connector):
    """`connected` holds the attachment ids of open devices; `faults` makes calls fail, named as the methods.

    Others find no block devices here, unless the fake is to make some: loop devices, which needs root.
    """

    def __init__(self, records: FakeRecords, host: str = "fakehost", *, makes_devices: bool = False) -> None:
        self.makes_devices = makes_devices
        self.connected: set[str] = set()
        self.faults = FaultPlan()
        self._records = records
        self._host = host
        self._lock = threading.Lock()  # guards connected

    def properties(self) -> ConnectorProperties:
        with self.faults.around("properties"):
            return ConnectorProperties({"host": self._host, "ip": "127.0.0.1"})

    @contextmanager
    def open_source(
        self, info: ConnectionInfo, *, size: int, direct: bool = False, key: VolumeKey | None = None
    ) -> Iterator[BlockSource]:
        with self.faults.around("open_source"), self._connection(info, size, key) as device:
            yield device

    @contextmanager
    def open_target(self, info: ConnectionInfo, *, size: int, key: VolumeKey | None = None) -> Iterator[BlockTarget]:
        with self.faults.around("open_target"), self._connection(info, size, key) as device:
            yield device

    def encrypt(self, info: ConnectionInfo, *, size: int, key: VolumeKey) -> None:
        with self.faults.around("encrypt"), self._connection(info, size) as device:
            make_container(device, key)

    @contextmanager
    def open_device(self, info: ConnectionInfo, *, size: int, key: VolumeKey | None = None) -> Iterator[HostDevice]:
        with self.faults.around("open_device"), self._connection(info, size, key) as device:
            if not self.makes_devices:
                yield _FakeDevice(device, None)
                return
            with block_device_of(device) as path:
                yield _FakeDevice(device, path)

    def disconnect(self, info: ConnectionInfo) -> None:
        with self.faults.around("disconnect"), self._lock:
            self.connected.discard(str(info.data["attachment_id"]))

    @contextmanager
    def _connection(self, info: ConnectionInfo, size: int, key: VolumeKey | None = None) -> Iterator[BytesTarget]:
        attachment_id = str(info.data["attachment_id"])
        device = self._exported(info, attachment_id)
        if device.size < size:
            raise AttachError(f"the device of attachment {attachment_id} has {device.size} bytes, not {size}")
        with self._lock:
            self.connected.add(attachment_id)
        done = False
        try:
            yield device if key is None else open_container(device, key)
            done = True
        finally:
            self._disconnect_at_end(info, quietly=not done)

    def _disconnect_at_end(self, info: ConnectionInfo, *, quietly: bool) -> None:
        """`quietly` after an error, which must not be hidden by one that follows from it."""
        try:
            self.disconnect(info)
        except AttachError:
            if not quietly:
                raise

    def _exported(self, info: ConnectionInfo, attachment_id: str) -> BytesTarget:
        if info.driver_volume_type != DRIVER:
            raise AttachError(f"cannot connect a volume of type {info.driver_volume_type}")
        with self._records.lock:
            attachment = self._records.attachments.get(attachment_id)
            if attachment is None:
                raise AttachError(f"attachment {attachment_id} is not exported")
            if info.volume_id not in {"", attachment.volume_id}:
                raise AttachError(f"attachment {attachment_id} is of volume {attachment.volume_id}")
            content = self._records.content[attachment.volume_id]
            read_only = self._records.modes[attachment_id] is Mode.READ
        return ReadOnlyTarget(content) if read_only else content


@dataclass(frozen=True, slots=True)
class FakeFormerHost:
    """Where a dead run was; `disconnected` are the connections that were removed from it."""

    disconnected: list[ConnectionInfo] = field(default_factory=list)

    def properties(self) -> ConnectorProperties:
        return ConnectorProperties({"host": "fakehost", "ip": "127.0.0.1", "initiator": None})

    def disconnect(self, info: ConnectionInfo) -> None:
        self.disconnected.append(info)


class _FakeDevice(HostDevice):
    def __init__(self, content: BytesTarget, block_path: str | None) -> None:
        self._content, self._block_path = content, block_path

    @property
    def block_path(self) -> str | None:
        return self._block_path

    @property
    def size(self) -> int:
        return self._content.size

    def open_source(self, *, direct: bool = False) -> AbstractContextManager[BlockSource]:
        return nullcontext(self._content)


@contextmanager
def block_device_of(content: BytesTarget) -> Iterator[str]:
    """The path of a block device with this content; what is written to it becomes the content. Needs root."""
    with tempfile.TemporaryDirectory() as directory:
        backing = Path(directory) / "device"
        with backing.open("wb") as file:
            file.truncate(content.size)
            for extent in content.extents():
                piece = bytearray(extent.length)
                content.read_into(extent.offset, memoryview(piece))
                os.pwrite(file.fileno(), piece, extent.offset)
        try:
            with loop_device(backing, read_only=content.read_only) as path:
                yield path
        finally:
            if not content.read_only:
                _take_over(content, backing)


def _take_over(content: BytesTarget, backing: Path) -> None:
    content.discard(Extent(0, content.size))
    with backing.open("rb", buffering=0) as file:
        for extent in data_extents(file.fileno(), str(backing), content.size):
            for offset in range(extent.offset, extent.end, _PIECE):
                length = min(_PIECE, extent.end - offset)
                content.write(offset, os.pread(file.fileno(), length, offset))
