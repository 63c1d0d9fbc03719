"""Why something is not told, where no errno says it."""

from __future__ import annotations


class Refused(Exception):
    """The answer is one of the wire's reasons."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason
