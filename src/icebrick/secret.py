"""A string that must not be shown."""

from __future__ import annotations


class Secret(str):
    """A password or key: prints as ***; `reveal` gives the text to those who must have it."""

    __slots__ = ()

    def reveal(self) -> str:
        return str.__str__(self)[:]

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)
