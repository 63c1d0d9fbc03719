"""Who runs this process, as key and lock files tell it."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """The name, or nothing for a user without one, as containers have."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
