"""A node's owner, permissions, times and extended attributes, put on what was restored."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from icebrick.engine.file.outcome import raise_if_full, reason
from icebrick.repository.tree import Node, st_mode

_PRIVILEGED = stat.S_ISUID | stat.S_ISGID
_CAPABILITIES = "security.capability"
_KEPT = "security."
"""Other attributes of this name space are the host's, which labels new files by its own rules."""


@dataclass(slots=True)
class Outcome:
    """`problems` are reasons, to be told with the path; `owner_refused` tells of what only root can do."""

    changed: bool = False
    owner_refused: bool = False
    problems: list[str] = field(default_factory=list)

    def note(self, what: str, error: Exception) -> None:
        raise_if_full(error)
        self.problems.append(f"{what}: {reason(error)}")


def set_attributes(file: int | str, node: Node, *, fresh: bool) -> Outcome:
    """Make the attributes of an open file, or of what a pinned path leads to, those of the node.

    What is right already is not set again, unless the file is `fresh`: a copy on write stays small. The order is that
    in which no step undoes one before it: a new owner takes away set-user-ID and capabilities, an ACL changes the
    permissions, and all of them the time.
    """
    outcome = Outcome(changed=fresh)
    try:
        found = os.stat(file)
        _set_owner(file, node, found, outcome)
        _set_extended(file, node, outcome)
        if node.type != "symlink":
            _set_permissions(file, node, found, outcome)
        if outcome.changed or found.st_mtime_ns != node.mtime.ns:
            _set_times(file, node, outcome)
    except (OSError, OverflowError, ValueError) as error:
        outcome.note("its attributes cannot be set", error)
    return outcome


def has_attributes(file: int | str, node: Node) -> bool:
    """Whether `set_attributes` would have nothing to do; OSError."""
    found = os.stat(file)
    return (
        (found.st_uid, found.st_gid, found.st_mtime_ns) == (node.uid, node.gid, node.mtime.ns)
        and stat.S_IMODE(found.st_mode) == stat.S_IMODE(st_mode(node.mode))
        and {name: os.getxattr(file, name) for name in os.listxattr(file)}
        == {attribute.name: attribute.value for attribute in node.extended_attributes}
    )


def _set_owner(file: int | str, node: Node, found: os.stat_result, outcome: Outcome) -> None:
    if (found.st_uid, found.st_gid) == (node.uid, node.gid):
        return
    try:
        os.chown(file, node.uid, node.gid)
        outcome.changed = True
    except PermissionError as error:
        outcome.owner_refused = True
        if os.geteuid() == 0:
            outcome.note("its owner cannot be set", error)


def _set_extended(file: int | str, node: Node, outcome: Outcome) -> None:
    wanted = {attribute.name: attribute.value for attribute in node.extended_attributes}
    try:
        found = os.listxattr(file)
    except OSError as error:
        if wanted:
            outcome.note("its extended attributes cannot be set", error)
        return
    for name in _superfluous(found, wanted):
        try:
            os.removexattr(file, name)
            outcome.changed = True
        except OSError as error:
            outcome.note(f"its extended attribute {name} cannot be removed", error)
    for name, value in wanted.items():
        try:
            if name not in found or os.getxattr(file, name) != value:
                os.setxattr(file, name, value)
                outcome.changed = True
        except (OSError, ValueError) as error:
            outcome.note(f"its extended attribute {name!r} cannot be set", error)


def _superfluous(found: list[str], wanted: dict[str, bytes]) -> Iterator[str]:
    for name in found:
        if name not in wanted and (name == _CAPABILITIES or not name.startswith(_KEPT)):
            yield name


def _set_times(file: int | str, node: Node, outcome: Outcome) -> None:
    os.utime(file, ns=(node.atime.ns, node.mtime.ns))
    outcome.changed = True
    if os.stat(file).st_mtime_ns != node.mtime.ns:
        outcome.problems.append(f"its time is not one that this file system can keep: {node.mtime}")


def _set_permissions(file: int | str, node: Node, found: os.stat_result, outcome: Outcome) -> None:
    permissions = stat.S_IMODE(st_mode(node.mode))
    if outcome.owner_refused:  # they would give away the rights of somebody else
        permissions &= ~_PRIVILEGED
    if outcome.changed or stat.S_IMODE(found.st_mode) != permissions:  # a new owner or ACL has changed them
        os.chmod(file, permissions)
        outcome.changed = True
