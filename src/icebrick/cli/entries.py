"""Entries of snapshots as lines of text, and as the JSON that restic has for them."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from icebrick.cli.output import Output, counted
from icebrick.engine.file.base import Problem
from icebrick.errors import CorruptDataError
from icebrick.repository.tree import MODE_DIR, st_mode
from icebrick.workflow.browse import Found

_GO_LETTERS = "dalTLDpSugct?"  # of the highest bits of a mode, from the highest down
_PERMISSIONS = "rwxrwxrwx"


def tell_entry(output: Output, found: Found, around: Mapping[str, Any], *, long: bool) -> None:
    """One of a result's entries; `around` is what its JSON has besides."""
    output.line(json.dumps({**around, **entry_record(found)}) if output.as_json else entry_line(found, long=long))


def fail_if_unreadable(output: Output, problems: Sequence[Problem]) -> None:
    """CorruptDataError when directories could not be read, of which each is told."""
    for problem in problems:
        output.warn(f"{problem.path} cannot be read: {problem.reason}")
    if problems:
        raise CorruptDataError(f"{counted(len(problems), 'tree')} could not be read; what is below is missing here")


def entry_line(found: Found, *, long: bool) -> str:
    """Its path; before that, when `long`, kind and permissions, owner and group, size, and local time."""
    path = found.shown
    if not long:
        return path
    node = found.node
    moment = node.mtime.to_datetime().astimezone().replace(tzinfo=None).isoformat(" ", "seconds")
    target = f" -> {node.linktarget}" if node.type == "symlink" else ""
    return f"{_kind_and_permissions(node.mode)} {node.uid:>5} {node.gid:>5} {node.size:>11} {moment} {path}{target}"


def _kind_and_permissions(mode: int) -> str:
    """As `ls -l` has them."""
    try:
        return stat.filemode(st_mode(mode))
    except ValueError:
        return "?" + stat.filemode(mode & 0o777)[1:]


def entry_record(found: Found) -> dict[str, Any]:
    """Restic's names. What is not UTF-8 in a name has a lone surrogate for each byte, as Python's os.fsdecode."""
    node = found.node
    record: dict[str, Any] = {"name": node.name, "type": node.type, "path": found.shown}
    record |= {"uid": node.uid, "gid": node.gid}
    if node.type == "file":
        record["size"] = node.size
    if node.linktarget:
        record["linktarget"] = node.linktarget
    record |= {"mode": node.mode, "permissions": go_permissions(node.mode)}
    record |= {"mtime": str(node.mtime), "atime": str(node.atime), "ctime": str(node.ctime)}
    if node.inode:
        record["inode"] = node.inode
    return record


def go_permissions(mode: int) -> str:
    """Kind and permissions as restic writes them: Go's os.FileMode."""
    kind = "".join(letter for place, letter in enumerate(_GO_LETTERS) if mode & MODE_DIR >> place)
    permissions = (letter if mode & 0o400 >> place else "-" for place, letter in enumerate(_PERMISSIONS))
    return (kind or "-") + "".join(permissions)
