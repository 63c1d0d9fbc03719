"""filesystem.json: what a file system was, kept beside its files; see docs/design/file-system-record.md.

Like any record it may be hostile: it is checked to hold nothing but what `make` can hand to mkfs.
"""

from __future__ import annotations

import base64
import json
import re

from icebrick.document import Fields, open_document
from icebrick.filesystem.base import FOREIGN_TYPES, TYPES, FileSystem

FILE_NAME = "filesystem.json"
FORMAT = "icebrick file system record"
VERSION = 1

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9A-F]{4}-[0-9A-F]{4}|[0-9A-F]{16}")
_WORD = re.compile(r"[a-z0-9_-]{1,40}")
_MAX_SIZE = (1 << 63) - 1


def encode_record(file_system: FileSystem) -> bytes:
    """Deterministic UTF-8 JSON, for people too."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "type": file_system.type,
        "label": file_system.label.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        "label_raw": base64.b64encode(file_system.label.encode("utf-8", "surrogateescape")).decode(),
        "uuid": file_system.uuid,
        "size": file_system.size,
        "settings": dict(file_system.settings),
        "features": sorted(file_system.features),
        "checksum": file_system.checksum,
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()


def decode_record(data: bytes, where: str) -> FileSystem:
    """CorruptDataError that names `where` and the value; RepositoryError for a version that came after this one."""
    document = open_document(data, where, expected=FORMAT, version=VERSION)
    file_system, uuid = document.text("type"), document.text("uuid")
    known = (*TYPES, *FOREIGN_TYPES)
    if file_system not in known:
        document.fail("type", f"one of {', '.join(known)}")
    if not _UUID.fullmatch(uuid):
        document.fail("uuid", "a UUID in lower case, or a serial number of FAT or NTFS")
    settings = document.object("settings")
    return FileSystem(
        type=file_system,
        label=_decode_label(document),
        uuid=uuid,
        size=document.number("size", 0, _MAX_SIZE),
        settings={_word(settings, name): settings.number(name, 0, _MAX_SIZE) for name in settings.values},
        features=frozenset(_word(document, name) for name in _features(document)),
        checksum=document.text("checksum") and _word(document, document.text("checksum")),
    )


def _decode_label(document: Fields) -> str:
    try:
        label = base64.b64decode(document.text("label_raw"), validate=True)
    except ValueError:
        document.fail("label_raw", "base64")
    if len(label) > 256 or b"\0" in label:
        document.fail("label_raw", "at most 256 bytes without a zero byte")
    return label.decode("utf-8", "surrogateescape")


def _features(document: Fields) -> list[str]:
    names = document.values.get("features")
    if not isinstance(names, list) or len(names) > 100 or not all(isinstance(name, str) for name in names):
        document.fail("features", "a list of at most 100 strings")
    return names


def _word(fields: Fields, name: str) -> str:
    if not _WORD.fullmatch(name):
        fields.fail(name[:40], "a name of at most 40 letters, digits, _ and -")
    return name
