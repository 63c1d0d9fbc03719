"""What host and guest say to each other; docs/design/reader-protocol.md describes it.

Each request has one answer, and answers come in the order of the requests. Numbers are little-endian. The guest uses
this module, too: so it needs nothing but `struct`.
"""

from __future__ import annotations

import struct

VERSION = 1

HEADER = struct.Struct("<IIB")
"""Length of the body, the request's number, and what it is: an operation, or how it went."""

HELLO, MOUNT, ENTER, LIST, ATTRIBUTES, LINK, FETCH, READ, CLOSE, UNMOUNT = range(1, 11)
"""Operations."""
DONE, FAILED = 0, 1
"""Kinds of answers. The body of FAILED is one `NUMBER`: an errno, or one of the reasons below."""

NOT_REGULAR, OTHER_FILE_SYSTEM, TOO_MANY_ATTRIBUTES, NOT_NOW, MOUNT_PROGRAM = range(10_001, 10_006)
"""Reasons that are no errno. NOT_NOW: the answer was full, ask for this one again."""

MAX_REQUEST = 32 << 10
MAX_ANSWER = 2 << 20
"""Of a body, in bytes."""
MAX_PART = 256 << 10
"""Of a file's bytes in one READ, or for one name of a FETCH."""
FULL = 512 << 10
"""A FETCH of several names, or a LIST, goes on in another answer when this one has so many bytes."""
MAX_ATTRIBUTES = 1 << 20
"""Of an entry's extended attributes together, in bytes."""
MAX_NAMES = 64
"""Of one FETCH."""

NUMBER = struct.Struct("<I")
SHORT = struct.Struct("<H")
MOUNTED = struct.Struct("<IB")
"""Handle of the root directory, and whether there are subvolumes; then its STATUS."""
STATUS = struct.Struct("<IIIqIqIQIqQ")
"""mode, uid, gid, mtime in seconds and nanoseconds, ctime the same, inode, links, size, rdev."""
FETCHING = struct.Struct("<IIH")
"""Handle of the directory, most bytes of each file, and how many names follow."""
READING = struct.Struct("<II")
"""Handle of the file, and most bytes."""
PART = struct.Struct("<QBI")
"""Zeros before the bytes, whether the file ends behind them, and how many bytes follow."""
FETCHED = struct.Struct("<II")
"""A reason, 0 for none; then the handle of the file, 0 when the part that follows is all of it."""
LISTED = struct.Struct("<BI")
"""Whether there is more to list; how many entries follow."""
EXAMINED = struct.Struct("<IH")
"""A reason why an entry could not be examined, 0 for none; then the length of its name, which follows."""


def pack_text(text: bytes) -> bytes:
    """With its length, of at most 65,535 bytes."""
    return SHORT.pack(len(text)) + text
