"""volume.json: what a volume was, kept beside its data. The schema is described in docs/design/volume-record.md.

A record comes from a repository that others may write to, so reading one checks every value it uses; what it
does not know, it passes over, so that later versions may add to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from icebrick.cloud.base import Volume
from icebrick.errors import CorruptDataError, RepositoryError
from icebrick.run import Run

FILE_NAME = "volume.json"
FORMAT = "icebrick volume record"
VERSION = 1
MAX_BYTES = 16 << 20
"""Far above what Cinder can say of a volume; bounds the memory a hostile record can take."""

_MAX_GIB = 1 << 31
_MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """A volume, the run that backed it up, when and with which version."""

    volume: Volume
    run: Run
    taken: datetime
    tool: str


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
    document = {
        "format": FORMAT,
        "version": VERSION,
        "tool": record.tool,
        "run": {"id": record.run.id, "host": record.run.host},
        "taken": record.taken.isoformat(),
        "volume": attributes,
        "cinder": dict(volume.record),
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()


def decode_record(data: bytes, where: str) -> VolumeRecord:
    """CorruptDataError that names `where` and the value; RepositoryError for a version that came after this one."""
    document = _Fields(_parse(data, where), where)
    if document.text("format") != FORMAT:
        document.fail("format", f"'{FORMAT}'")
    version = document.number("version", 1, _MAX_GIB)
    if version > VERSION:
        raise RepositoryError(
            f"{where} has version {version}, this icebrick reads up to {VERSION}",
            hint="Use a newer icebrick, or restore the data alone with --target.",
        )
    run = document.object("run")
    return VolumeRecord(
        volume=_decode_volume(document.object("volume"), document.mapping("cinder")),
        run=Run(run.text("id"), run.text("host")),
        taken=document.time("taken"),
        tool=document.text("tool"),
    )


def _decode_volume(fields: _Fields, record: Mapping[str, Any]) -> Volume:
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


def _parse(data: bytes, where: str) -> Mapping[str, Any]:
    if len(data) > MAX_BYTES:
        raise CorruptDataError(f"{where} has {len(data)} bytes, more than any record")
    try:
        # A lone surrogate is legal in JSON but in no UTF-8 text: encoding again finds it wherever it is.
        document = json.loads(data.decode(), parse_constant=_refuse_constant)
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{where} is not the JSON of a record: {error}") from error
    if not isinstance(document, dict):
        raise CorruptDataError(f"{where} is not a JSON object")
    return document


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


class _Fields:
    """The values of one JSON object, each demanded with its type."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self._where = where

    def fail(self, key: str, expected: str) -> NoReturn:
        raise CorruptDataError(f"{self._where}: {key}: expected {expected}")

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str):
            self.fail(key, "a string")
        return value

    def optional_text(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.text(key)

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        if not isinstance(value, bool):
            self.fail(key, "true or false")
        return value

    def number(self, key: str, lowest: int, highest: int) -> int:
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            self.fail(key, f"a whole number from {lowest} to {highest}")
        return value

    def time(self, key: str) -> datetime:
        try:
            return datetime.fromisoformat(self.text(key))
        except ValueError:
            self.fail(key, "an ISO 8601 time")

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key)
        if not isinstance(value, dict):
            self.fail(key, "an object")
        return value

    def object(self, key: str) -> _Fields:
        return _Fields(self.mapping(key), f"{self._where}: {key}")

    def texts(self, key: str) -> dict[str, str]:
        value = self.mapping(key)
        if len(value) > _MAX_ENTRIES or not all(isinstance(text, str) for text in value.values()):
            self.fail(key, f"an object of at most {_MAX_ENTRIES} strings")
        return dict(value)
