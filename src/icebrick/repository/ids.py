"""The names of things in a repository: SHA-256 digests, as raw bytes inside, as hex in files and messages."""

from __future__ import annotations

import hashlib
from enum import Enum

from icebrick.blockdev import Data

ID_SIZE = 32


class BlobType(Enum):
    """The two kinds of blobs; the values are those of index files."""

    DATA = "data"
    TREE = "tree"


def digest(data: Data) -> bytes:
    """The id of a blob (over its plaintext) or of a file (over its bytes as stored)."""
    return hashlib.sha256(data).digest()
