"""volume.json: what a volume was, kept beside its data. The schema is described in docs/design/volume-record.md.

A record comes from a repository that others may write to, so reading one checks every value it uses; what it
does not know, it passes over, so that later versions may add to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from icebrick.cloud.base import Group, Volume
from icebrick.document import Fields, open_document
from icebrick.encryption import Encryption
from icebrick.errors import CorruptDataError
from icebrick.run import Run
from icebrick.workflow.encryption import Form, StoredEncryption

FILE_NAME = "volume.json"
FORMAT = "icebrick volume record"
VERSION = 1

_MAX_GIB = 1 << 31


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """The group of which a volume was backed up as one member, and the group snapshot that all members are of."""

    group: Group
    """With the members that the group snapshot has."""
    group_snapshot_id: str


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """A volume, the run that backed it up, when and with which version."""

    volume: Volume
    run: Run
    taken: datetime
    tool: str
    group: GroupRecord | None = None
    """None for a volume that was backed up by itself, in a group or not."""
    encryption: StoredEncryption | None = None
    """None for a volume that was not encrypted, and in records of before there was this."""

    @property
    def stored_encryption(self) -> StoredEncryption | None:
        """None for a volume that was not encrypted; those of before there was `encryption` are as they were stored."""
        if self.encryption is not None or not self.volume.encrypted:
            return self.encryption
        key_id = self.volume.record.get("encryption_key_id")
        return StoredEncryption(Form.AS_STORED, Encryption("", key_id if isinstance(key_id, str) else ""))


def encode_record(record: VolumeRecord) -> bytes:
    """Deterministic UTF-8 JSON, for people too."""
    volume = record.volume
    attributes = {
        "id": volume.id,
        "name": volume.name,
        "description": volume.description,
        "status": volume.status,
        "size_gib": volume.size,
        "project_id": volume.project_id,
        "volume_type": volume.volume_type,
        "availability_zone": volume.availability_zone,
        "bootable": volume.bootable,
        "read_only": volume.read_only,
        "multiattach": volume.multiattach,
        "encrypted": volume.encrypted,
        "group_id": volume.group_id,
        "metadata": dict(volume.metadata),
        "image_metadata": dict(volume.image_metadata),
        "created_at": None if volume.created_at is None else volume.created_at.isoformat(),
    }
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "tool": record.tool,
        "run": {"id": record.run.id, "host": record.run.host},
        "taken": record.taken.isoformat(),
        "volume": attributes,
        "cinder": dict(volume.record),
    }
    if record.group is not None:
        document["group"] = _encode_group(record.group)
    if record.encryption is not None:
        document["encryption"] = _encode_encryption(record.encryption)
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()


def decode_record(data: bytes, where: str) -> VolumeRecord:
    """CorruptDataError that names `where` and the value; RepositoryError for a version that came after this one."""
    document = open_document(data, where, expected=FORMAT, version=VERSION)
    run = document.object("run")
    in_group = document.values.get("group") is not None
    is_encrypted = document.values.get("encryption") is not None
    return VolumeRecord(
        volume=_decode_volume(document.object("volume"), document.mapping("cinder")),
        run=Run(run.text("id"), run.text("host")),
        taken=document.time("taken"),
        tool=document.text("tool"),
        group=_decode_group(document.object("group")) if in_group else None,
        encryption=_decode_encryption(document.object("encryption"), where) if is_encrypted else None,
    )


def _encode_group(record: GroupRecord) -> Mapping[str, Any]:
    group = record.group
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "group_type": group.group_type,
        "volume_types": list(group.volume_types),
        "consistent": group.consistent,
        "group_snapshot_id": record.group_snapshot_id,
        "members": list(group.volume_ids),
    }


def _decode_group(fields: Fields) -> GroupRecord:
    group = Group(
        id=fields.text("id"),
        name=fields.text("name"),
        status="",
        description=fields.text("description"),
        group_type=fields.text("group_type"),
        volume_types=fields.list_of_texts("volume_types"),
        volume_ids=fields.list_of_texts("members"),
        consistent=fields.optional_flag("consistent"),
    )
    return GroupRecord(group, fields.text("group_snapshot_id"))


def _encode_encryption(stored: StoredEncryption) -> Mapping[str, Any]:
    encryption = stored.encryption
    return {
        "form": stored.form.value,
        "reason": stored.reason,
        "size": stored.size,
        "provider": encryption.provider,
        "cipher": encryption.cipher,
        "key_size": encryption.key_size,
        "key_id": encryption.key_id,
        "control_location": encryption.control_location,
    }


def _decode_encryption(fields: Fields, where: str) -> StoredEncryption:
    form = fields.text("form")
    if form not in {each.value for each in Form}:
        raise CorruptDataError(f"{where}: there is no form of encryption {form!r}")

    def number(name: str, most: int) -> int | None:
        return None if fields.values.get(name) is None else fields.number(name, 0, most)

    encryption = Encryption(
        provider=fields.text("provider"),
        key_id=fields.text("key_id"),
        cipher=fields.optional_text("cipher"),
        key_size=number("key_size", 1 << 16),
        control_location=fields.text("control_location"),
    )
    return StoredEncryption(Form(form), encryption, fields.optional_text("reason"), number("size", 1 << 62))


def _decode_volume(fields: Fields, record: Mapping[str, Any]) -> Volume:
    return Volume(
        id=fields.text("id"),
        name=fields.text("name"),
        status=fields.text("status"),
        size=fields.number("size_gib", 1, _MAX_GIB),
        description=fields.text("description"),
        project_id=fields.text("project_id"),
        volume_type=fields.optional_text("volume_type"),
        availability_zone=fields.optional_text("availability_zone"),
        bootable=fields.flag("bootable"),
        read_only=fields.flag("read_only"),
        multiattach=fields.flag("multiattach"),
        encrypted=fields.flag("encrypted"),
        group_id=fields.optional_text("group_id"),
        metadata=fields.texts("metadata"),
        image_metadata=fields.texts("image_metadata"),
        created_at=None if fields.values.get("created_at") is None else fields.time("created_at"),
        record=record,
    )
