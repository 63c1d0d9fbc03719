"""What the parts of the clouds' contract share.

The fixtures they ask for: `cloud`, a member of one project of an otherwise idle cloud, that settles within a second;
`stranger`, a member of another project; `admin`, an administrator in a third, who is a member of `cloud`'s project
too, and has no role in `stranger`'s; `connector`, of this host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from icebrick.attach.base import Connector
from icebrick.cloud.base import Attachment, Cloud, Mode, Volume, VolumeSettings, VolumeSnapshot, VolumeSpec
from icebrick.run import Run

GIB = 1 << 30
RUN = Run("20261123T061500Z-1f2e3d4c", "host1")
MISSING = "00000000-0000-4000-8000-000000000000"
PLAIN = VolumeSettings("disk", "of a server", {"k": "v"}, {}, bootable=False, read_only=False)


def wipe(admin: Cloud) -> None:
    """Delete everything of all projects."""
    for transfer in admin.all_transfers():
        admin.delete_transfer(transfer.id)
    for taken in admin.all_group_snapshots():
        admin.delete_group_snapshot(taken.id)
    for snapshot in admin.all_snapshots():
        admin.delete_snapshot(snapshot.id)
    for volume in admin.all_volumes():
        for attachment in admin.attachments(volume.id):
            admin.delete_attachment(attachment.id)
        if volume.group_id is not None:
            admin.remove_from_group(volume.id)
        admin.delete_volume(volume.id)
    for group in admin.all_groups():
        admin.delete_group(group.id)


def new_snapshot(cloud: Cloud) -> VolumeSnapshot:
    volume = cloud.create_volume(VolumeSpec("disk", 1))
    return cloud.create_snapshot(volume.id, name="frozen", metadata={})


def settings_of(volume: Volume) -> VolumeSettings:
    return VolumeSettings(
        volume.name,
        volume.description,
        dict(volume.metadata),
        dict(volume.image_metadata),
        bootable=volume.bootable,
        read_only=volume.read_only,
    )


@contextmanager
def attached_to(cloud: Cloud, connector: Connector, volume: Volume, mode: Mode) -> Iterator[Attachment]:
    reserved = cloud.create_attachment(volume.id, mode)
    try:
        connected = cloud.connect_attachment(reserved.id, connector.properties(), mode)
        cloud.complete_attachment(reserved.id)
        yield connected
    finally:
        cloud.delete_attachment(reserved.id)


def write_to(cloud: Cloud, connector: Connector, volume: Volume, offset: int, data: bytes) -> None:
    with attached_to(cloud, connector, volume, Mode.WRITE) as attachment:
        assert attachment.connection is not None
        with connector.open_target(attachment.connection, size=volume.size * GIB) as target:
            target.write(offset, data)
            target.flush()


def read_back(cloud: Cloud, connector: Connector, volume: Volume, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    with attached_to(cloud, connector, volume, Mode.READ) as attachment:
        assert attachment.connection is not None
        with connector.open_source(attachment.connection, size=volume.size * GIB) as source:
            source.read_into(offset, memoryview(buffer))
    return bytes(buffer)
