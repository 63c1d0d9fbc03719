"""How files are to be restored; apart from the restore itself, as every command reads its settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from icebrick.engine.file.select import EVERYTHING, Selection


class Overwrite(Enum):
    """What happens to a file that is there already; directories stay, and get their attributes but for NEVER."""

    ALWAYS = "always"
    """Its content is compared, and what differs is written."""
    IF_CHANGED = "if-changed"
    """The same, but one whose size, time and attributes are right is believed to have the right content."""
    IF_NEWER = "if-newer"
    """Only when the backup's is newer."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class FileRestoreOptions:
    """`delete_extra` removes what the backup has not, as far as it is selected, and lies on the same mount."""

    selection: Selection = EVERYTHING
    overwrite: Overwrite = Overwrite.ALWAYS
    delete_extra: bool = False
