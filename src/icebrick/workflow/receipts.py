"""What was proved of each snapshot, and when; kept on this host.

    <state dir>/receipts/<repository id>/<snapshot id>.json     0600: for each kind of proof, the last one

It is no part of the repository, where whoever can spoil a snapshot could spoil its receipt, too.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from icebrick.document import Fields, open_document
from icebrick.errors import CorruptDataError, IcebrickError, RepositoryError

log = logging.getLogger(__name__)

FORMAT = "icebrick receipts"
VERSION = 1
_ID = re.compile("[0-9a-f]{64}")


class ProofKind(Enum):
    """How a snapshot was proved."""

    VERIFY = "verify"
    """Read back from the storage."""
    DRILL = "drill"
    """Restored to something that was thrown away again, compared, its file system checked."""
    RESTORE = "restore"
    """Restored, and compared."""


@dataclass(frozen=True, slots=True)
class Verification:
    """One proof of a snapshot, or the proof that it failed; `details` is JSON."""

    snapshot_id: str
    kind: ProofKind
    verified: datetime
    ok: bool
    digest: str
    details: Mapping[str, Any]


class Receipts:
    """Those of one repository."""

    def __init__(self, state_dir: Path, repository_id: str) -> None:
        self._folder = state_dir / "receipts" / repository_id

    def save(self, verification: Verification) -> None:
        """In place of the last one of its kind; IcebrickError when it cannot be written."""
        kept = {each.kind: each for each in self.of(verification.snapshot_id)}
        kept[verification.kind] = verification
        document = {
            "format": FORMAT,
            "version": VERSION,
            "snapshot_id": verification.snapshot_id,
            "verifications": {kind.value: _encoded(each) for kind, each in kept.items()},
        }
        path = self._path(verification.snapshot_id)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, json.dumps(document, indent=1).encode() + b"\n")
        except OSError as error:
            raise IcebrickError(f"cannot keep receipt {path}: {error.strerror}") from error

    def of(self, snapshot_id: str) -> tuple[Verification, ...]:
        """Of each kind the last one, newest first; none when the file is damaged, with a warning."""
        path = self._path(snapshot_id)
        try:
            document = open_document(path.read_bytes(), str(path), expected=FORMAT, version=VERSION)
            found = [
                _decoded(snapshot_id, kind, document.object("verifications").object(kind.value))
                for kind in ProofKind
                if kind.value in document.mapping("verifications")
            ]
        except FileNotFoundError:
            return ()
        except (OSError, CorruptDataError, RepositoryError) as error:
            log.warning("receipt left out: path=%s error=%s", path, error)
            return ()
        return tuple(sorted(found, key=lambda each: each.verified, reverse=True))

    def keep_only(self, snapshot_ids: Iterable[str]) -> None:
        """Remove those of snapshots that are not there any more; what cannot be removed stays."""
        wanted = {f"{snapshot_id}.json" for snapshot_id in snapshot_ids}
        try:
            for path in list(self._folder.iterdir()):
                if path.suffix == ".json" and path.name not in wanted:
                    path.unlink(missing_ok=True)
        except OSError as error:
            log.debug("receipts not removed: %s", error)

    def _path(self, snapshot_id: str) -> Path:
        if not _ID.fullmatch(snapshot_id):
            raise ValueError(f"{snapshot_id!r} is not a snapshot's id")
        return self._folder / f"{snapshot_id}.json"


def _encoded(verification: Verification) -> dict[str, Any]:
    return {
        "verified": verification.verified.isoformat(),
        "ok": verification.ok,
        "digest": verification.digest,
        "details": dict(verification.details),
    }


def _decoded(snapshot_id: str, kind: ProofKind, fields: Fields) -> Verification:
    return Verification(
        snapshot_id,
        kind,
        verified=fields.time("verified").astimezone(),
        ok=fields.flag("ok"),
        digest=fields.text("digest"),
        details=fields.mapping("details"),
    )


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
