"""Nova in memory: servers that hold volumes in the same records as the fake Cinder's.

Trusted because it passes the same contract as the real one (`servers_contract`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from string import ascii_lowercase

from icebrick.cloud.base import Attachment, Mode
from icebrick.cloud.servers import ServerAttachment, Servers
from icebrick.errors import ResourceMissingError
from icebrick.testing.fakerecords import FakeRecords, FakeServer, FakeView, require
from icebrick.testing.faultplan import FaultPlan


def start_server(records: FakeRecords, root: str) -> FakeServer:
    """A server of the root volume's project."""
    server = FakeServer(str(uuid.uuid4()), records.volumes[root].project_id, root)
    records.servers[server.id] = server
    _give(records, server, ServerAttachment(server.id, root, "/dev/vda"))
    return server


class FakeServers(Servers):
    """One login's view. `faults` makes calls fail, named `detach_server`, and so on."""

    def __init__(self, view: FakeView, faults: FaultPlan) -> None:
        self._view = view
        self._faults = faults

    def attachments(self, volume_id: str) -> Sequence[ServerAttachment]:
        with self._call("server_attachments"):
            servers = self._view.records.servers.values()
            return [server.disks[volume_id] for server in servers if volume_id in server.disks]

    def detach(self, server_id: str, volume_id: str) -> None:
        with self._call("detach_server"):
            server = self._view.records.servers.get(server_id)
            if server is None or volume_id not in server.disks:
                return
            require(volume_id != server.root, f"cannot detach volume {volume_id}: it is the root of server {server_id}")
            require(not server.locked, f"cannot detach volume {volume_id}: server {server_id} is locked")
            _take(self._view.records, server, volume_id)

    def attach(self, wanted: ServerAttachment) -> ServerAttachment:
        with self._call("attach_server"):
            server = self._view.records.servers.get(wanted.server_id)
            if server is None or not self._view.sees(server.project_id):
                raise ResourceMissingError(f"server {wanted.server_id} could not be found")
            if wanted.volume_id in server.disks:
                return server.disks[wanted.volume_id]
            volume = self._view.volume(wanted.volume_id)
            same = volume.project_id == server.project_id
            require(same, f"cannot attach volume {volume.id} to server {server.id}: they are of different projects")
            free = volume.status == "available" or (volume.multiattach and volume.status == "in-use")
            require(free, f"cannot attach volume {volume.id}: it is {volume.status}")
            require(not server.locked, f"cannot attach volume {volume.id}: server {server.id} is locked")
            return _give(self._view.records, server, replace(wanted, device=_free_name(server, wanted.device)))

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        with self._faults.around(name), self._view.records.lock:
            yield


def _free_name(server: FakeServer, wanted: str | None) -> str:
    taken = {disk.device for disk in server.disks.values()}
    names = [wanted or "/dev/vda", *(f"/dev/vd{letter}" for letter in ascii_lowercase)]
    return next(name for name in names if name not in taken)


def _give(records: FakeRecords, server: FakeServer, disk: ServerAttachment) -> ServerAttachment:
    attachment = Attachment(str(uuid.uuid4()), disk.volume_id, "attached", server_id=server.id)
    records.attachments[attachment.id] = attachment
    records.modes[attachment.id] = Mode.WRITE
    records.change_volume(disk.volume_id, status="in-use")
    server.disks[disk.volume_id] = disk
    return disk


def _take(records: FakeRecords, server: FakeServer, volume_id: str) -> None:
    del server.disks[volume_id]
    of_volume = [one for one in records.attachments.values() if one.volume_id == volume_id]
    ended = next(one for one in of_volume if one.server_id == server.id)
    del records.attachments[ended.id], records.modes[ended.id]
    records.change_volume(volume_id, status="in-use" if len(of_volume) > 1 else "available")
