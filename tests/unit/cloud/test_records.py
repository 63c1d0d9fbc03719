"""Cinder's JSON as our values, also where an older Cinder tells less."""

from __future__ import annotations

from datetime import UTC, datetime

from icebrick.cloud.records import attachment_from, snapshot_from, volume_from

FULL = {
    "id": "1f2e",
    "name": "disk",
    "status": "in-use",
    "size": 3,
    "description": None,
    "os-vol-tenant-attr:tenant_id": "p1",
    "volume_type": "fast",
    "availability_zone": "nova",
    "bootable": "true",
    "encrypted": True,
    "multiattach": True,
    "group_id": "g1",
    "metadata": {"k": "v", "readonly": "True", "attached_mode": "rw"},
    "volume_image_metadata": {"os": "x"},
    "created_at": "2026-11-23T06:15:00.000123",
}


def test_a_volume_is_told_in_our_words() -> None:
    volume = volume_from(FULL)
    assert (volume.bootable, volume.read_only, volume.encrypted, volume.multiattach) == (True, True, True, True)
    assert (volume.project_id, volume.volume_type, volume.group_id, volume.description) == ("p1", "fast", "g1", "")
    assert volume.created_at == datetime(2026, 11, 23, 6, 15, 0, 123, tzinfo=UTC)


def test_admin_keys_are_not_the_users_metadata_but_stay_in_the_record() -> None:
    volume = volume_from(FULL)
    assert volume.metadata == {"k": "v"}
    assert volume.record["metadata"]["attached_mode"] == "rw"


def test_what_is_not_told_is_absent() -> None:
    volume = volume_from({"id": "1f2e", "status": "error", "size": 1})
    assert (volume.name, volume.metadata, volume.image_metadata, volume.created_at) == ("", {}, {}, None)
    assert (volume.bootable, volume.read_only) == (False, False)


def test_a_snapshot_is_told_in_our_words() -> None:
    told = {"id": "5", "status": "available", "volume_id": "1f2e", "size": 1, "name": None, "metadata": {"k": "v"}}
    snapshot = snapshot_from(told | {"os-extended-snapshot-attributes:project_id": "p1"})
    assert (snapshot.name, snapshot.volume_id, snapshot.project_id, snapshot.metadata) == ("", "1f2e", "p1", {"k": "v"})


def test_a_reserved_attachment_has_no_connection() -> None:
    told = {"id": "a", "volume_id": "1f2e", "status": "reserved", "connection_info": {}, "instance": None}
    assert (attachment_from(told).connection, attachment_from(told).server_id) == (None, None)


def test_a_connection_is_its_type_and_the_rest() -> None:
    info = {"driver_volume_type": "iscsi", "target_lun": 1}
    attachment = attachment_from({"id": "a", "volume_id": "1f2e", "connection_info": info, "instance": "s1"})
    assert attachment.connection is not None
    assert (attachment.connection.driver_volume_type, attachment.connection.data) == ("iscsi", {"target_lun": 1})
    assert attachment.server_id == "s1"
    assert info == {"driver_volume_type": "iscsi", "target_lun": 1}
