"""Cinder's JSON to our values. Keys that this Cinder does not tell are as absent as null ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from icebrick.cloud.base import Attachment, Volume, VolumeSnapshot
from icebrick.connection import ConnectionInfo
from icebrick.encryption import Encryption
from icebrick.run import COLD_PREFIX

_READ_ONLY_KEY = "readonly"
_ADMIN_KEYS = frozenset({_READ_ONLY_KEY, "attached_mode"})
"""Admin metadata that Cinder mixes into the user's."""


def volume_from(record: Mapping[str, Any]) -> Volume:
    """A volume of GET /volumes/ID or /volumes/detail."""
    told = record.get("metadata") or {}
    metadata = {key: value for key, value in told.items() if not key.startswith(COLD_PREFIX)}
    return Volume(
        id=record["id"],
        name=record.get("name") or "",
        status=record["status"],
        size=record["size"],
        description=record.get("description") or "",
        project_id=record.get("os-vol-tenant-attr:tenant_id") or "",
        volume_type=record.get("volume_type"),
        availability_zone=record.get("availability_zone"),
        bootable=str(record.get("bootable")).lower() == "true",
        read_only=str(metadata.get(_READ_ONLY_KEY)).lower() == "true",
        multiattach=bool(record.get("multiattach")),
        encrypted=bool(record.get("encrypted")),
        group_id=record.get("group_id"),
        metadata={key: value for key, value in metadata.items() if key not in _ADMIN_KEYS},
        image_metadata=dict(record.get("volume_image_metadata") or {}),
        notes={key: value for key, value in told.items() if key not in metadata},
        created_at=_time(record.get("created_at")),
        record={**record, "metadata": metadata},
    )


def snapshot_from(record: Mapping[str, Any]) -> VolumeSnapshot:
    """A snapshot of GET /snapshots/ID or /snapshots/detail."""
    return VolumeSnapshot(
        id=record["id"],
        name=record.get("name") or "",
        status=record["status"],
        volume_id=record["volume_id"],
        size=record["size"],
        project_id=record.get("os-extended-snapshot-attributes:project_id") or "",
        metadata=dict(record.get("metadata") or {}),
        group_snapshot_id=record.get("group_snapshot_id"),
    )


def attachment_from(record: Mapping[str, Any]) -> Attachment:
    """An attachment of GET /attachments/ID or /attachments/detail."""
    told = dict(record.get("connection_info") or {})
    kind = told.pop("driver_volume_type", None)
    return Attachment(
        id=record["id"],
        volume_id=record["volume_id"],
        status=record.get("status") or "",
        connection=ConnectionInfo(kind, told, record["volume_id"]) if kind else None,
        server_id=record.get("instance"),
    )


def encryption_from(record: Mapping[str, Any]) -> Encryption | None:
    """Of GET /volumes/ID/encryption, which tells no key of a volume that is not encrypted."""
    if record.get("encryption_key_id") is None:
        return None
    return Encryption(
        provider=record.get("provider") or "",
        key_id=record["encryption_key_id"],
        cipher=record.get("cipher"),
        key_size=record.get("key_size"),
        control_location=record.get("control_location") or "",
    )


def _time(text: str | None) -> datetime | None:
    """Cinder's times are UTC and do not say so."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
