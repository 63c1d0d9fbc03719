"""Change maps: storage that can tell what may have changed, and the distrust they are met with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from icebrick.blockdev import Extent

SAMPLES = 64
"""So many blocks that shall be unchanged are read and compared before a change map is believed."""


class ChangeMap(Protocol):
    """What may have changed on the volume since the parent snapshot was taken."""

    def changed(self) -> Iterator[Extent]:
        """Ascending, not overlapping. Everything else must be byte for byte as it was in the parent."""
