"""Snapshots: what one backup stored, of what, when and by whom."""

from __future__ import annotations

from dataclasses import dataclass

from icebrick.errors import CorruptDataError
from icebrick.repository import gojson
from icebrick.repository.gojson import JsonObject, JsonValue
from icebrick.repository.timestamp import Timestamp


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """Statistics of the backup, as restic 0.17 and later store them; sizes in bytes, the last but one field on disk."""

    backup_start: Timestamp
    backup_end: Timestamp
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    data_added: int = 0
    data_added_packed: int = 0
    total_files_processed: int = 0
    total_bytes_processed: int = 0


_COUNTS = tuple(SnapshotSummary.__slots__[2:])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One backup. `id`, `parent` and `original` are names of snapshot files; `id` is None until it is stored.

    `original` is the snapshot this one was first, when it was copied or its tags were changed.
    """

    time: Timestamp
    tree: bytes
    paths: tuple[str, ...]
    hostname: str
    username: str = ""
    uid: int = 0
    gid: int = 0
    parent: str | None = None
    excludes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    original: str | None = None
    program_version: str = ""
    summary: SnapshotSummary | None = None
    id: str | None = None


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The JSON of its file, fields in restic's order."""
    optional: dict[str, JsonValue] = {
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "uid": snapshot.uid,
        "gid": snapshot.gid,
        "excludes": snapshot.excludes,
        "tags": snapshot.tags,
        "original": snapshot.original,
        "program_version": snapshot.program_version,
        "summary": None if snapshot.summary is None else _encode_summary(snapshot.summary),
    }
    fields: dict[str, JsonValue] = {"time": str(snapshot.time)}
    if snapshot.parent:
        fields["parent"] = snapshot.parent
    fields |= {"tree": snapshot.tree.hex(), "paths": snapshot.paths}
    return gojson.encode(fields | {name: value for name, value in optional.items() if value})


def _encode_summary(summary: SnapshotSummary) -> dict[str, JsonValue]:
    times = {"backup_start": str(summary.backup_start), "backup_end": str(summary.backup_end)}
    return times | {name: getattr(summary, name) for name in _COUNTS}


def decode_snapshot(data: bytes, snapshot_id: str | None) -> Snapshot:
    """CorruptDataError when it is not a snapshot, or names no tree; fields we do not know are passed over."""
    fields = gojson.parse_object(data)
    tree = fields.id("tree")
    if tree is None:
        raise CorruptDataError("snapshot without a tree")
    summary = fields.section("summary")
    return Snapshot(
        time=fields.time("time"),
        tree=tree,
        paths=fields.texts("paths"),
        hostname=fields.text("hostname"),
        username=fields.text("username"),
        uid=fields.unsigned("uid"),
        gid=fields.unsigned("gid"),
        parent=fields.text("parent") or None,
        excludes=fields.texts("excludes"),
        tags=fields.texts("tags"),
        original=fields.text("original") or None,
        program_version=fields.text("program_version"),
        summary=None if summary is None else _decode_summary(summary),
        id=snapshot_id,
    )


def _decode_summary(fields: JsonObject) -> SnapshotSummary:
    counts = {name: fields.unsigned(name) for name in _COUNTS}
    return SnapshotSummary(fields.time("backup_start"), fields.time("backup_end"), **counts)
