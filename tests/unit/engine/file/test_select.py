"""Patterns choose paths as restic's do."""

from __future__ import annotations

import pytest

from icebrick.engine.file.select import select
from icebrick.errors import UsageError


def is_meant(path: str, *, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> bool:
    """Asked for every directory on the way, as a walk does."""
    selected = select(include, exclude).start()
    parts = tuple(path.strip("/").split("/"))
    for depth in range(1, len(parts) + 1):
        below = selected.below(parts[:depth])
        if below is None:
            return False
        selected = below
    return selected.is_meant


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("passwd", "/etc/passwd"),
        ("/etc", "/etc/ssh/sshd_config"),
        ("*.conf", "/etc/a.conf"),
        ("ssh/*", "/etc/ssh/sshd_config"),
        ("/etc/**/key", "/etc/a/b/key"),
        ("/etc/**/key", "/etc/key"),
        ("[ab]?", "/b1"),
        ("folder", "/a/folder/deep/below"),
    ],
)
def test_a_pattern_matches_at_its_place_and_all_below(pattern: str, path: str) -> None:
    assert is_meant(path, include=(pattern,))
    assert not is_meant(path, exclude=(pattern,))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/passwd", "/etc/passwd"),
        ("*.conf", "/etc/a.conf.d"),
        ("/etc/*/key", "/etc/a/b/key"),
        ("PASSWD", "/etc/passwd"),
        ("etc/passwd/x", "/etc/passwd"),
        ("?", "/ab"),
    ],
)
def test_a_pattern_matches_nothing_else(pattern: str, path: str) -> None:
    assert not is_meant(path, include=(pattern,))
    assert is_meant(path, exclude=(pattern,))


def test_without_patterns_everything_is_meant() -> None:
    assert is_meant("/any/thing")


def test_an_exclusion_wins() -> None:
    assert not is_meant("/etc/shadow", include=("/etc",), exclude=("shadow",))
    assert is_meant("/etc/passwd", include=("/etc",), exclude=("shadow",))


@pytest.mark.parametrize("pattern", ["", "/", "../etc", "/a/./b"])
def test_a_pattern_that_can_match_nothing_is_a_mistake(pattern: str) -> None:
    with pytest.raises(UsageError, match="matches no path"):
        select((pattern,))
