"""A host that attaches FakeCloud's volumes: what is exported can be opened, in the mode it was exported in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from icebrick.attach.base import Connector
from icebrick.blockdev import BlockSource, BlockTarget
from icebrick.cloud.base import Mode
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.errors import AttachError
from icebrick.testing.bytesdevice import BytesTarget, ReadOnlyTarget
from icebrick.testing.fakerecords import DRIVER, FakeRecords
from icebrick.testing.faultplan import FaultPlan


class FakeConnector(Connector):
    """`connected` holds the attachment ids of open devices; `faults` makes calls fail, named as the methods."""

    def __init__(self, records: FakeRecords, host: str = "fakehost") -> None:
        self.connected: set[str] = set()
        self.faults = FaultPlan()
        self._records = records
        self._host = host
        self._lock = threading.Lock()  # guards connected

    def properties(self) -> ConnectorProperties:
        with self.faults.around("properties"):
            return ConnectorProperties({"host": self._host, "ip": "127.0.0.1"})

    @contextmanager
    def open_source(self, info: ConnectionInfo, *, size: int, direct: bool = False) -> Iterator[BlockSource]:
        with self.faults.around("open_source"), self._connection(info, size) as device:
            yield device

    @contextmanager
    def open_target(self, info: ConnectionInfo, *, size: int) -> Iterator[BlockTarget]:
        with self.faults.around("open_target"), self._connection(info, size) as device:
            yield device

    def disconnect(self, info: ConnectionInfo) -> None:
        with self.faults.around("disconnect"), self._lock:
            self.connected.discard(str(info.data["attachment_id"]))

    @contextmanager
    def _connection(self, info: ConnectionInfo, size: int) -> Iterator[BytesTarget]:
        attachment_id = str(info.data["attachment_id"])
        device = self._exported(info, attachment_id)
        if device.size < size:
            raise AttachError(f"the device of attachment {attachment_id} has {device.size} bytes, not {size}")
        with self._lock:
            self.connected.add(attachment_id)
        try:
            yield device
        finally:
            self.disconnect(info)

    def _exported(self, info: ConnectionInfo, attachment_id: str) -> BytesTarget:
        if info.driver_volume_type != DRIVER:
            raise AttachError(f"cannot connect a volume of type {info.driver_volume_type}")
        with self._records.lock:
            attachment = self._records.attachments.get(attachment_id)
            if attachment is None:
                raise AttachError(f"attachment {attachment_id} is not exported")
            content = self._records.content[attachment.volume_id]
            read_only = self._records.modes[attachment_id] is Mode.READ
        return ReadOnlyTarget(content) if read_only else content
