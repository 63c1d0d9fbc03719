"""What a listing tells is believed only as far as a file system could tell it."""

from __future__ import annotations

import stat

import pytest

from icebrick.engine.file.base import MAX_SIZE, Entry, Listing, Problem, check_numbers, screened
from icebrick.errors import FileSystemError

FILE = Entry("file", stat.S_IFREG | 0o644, 0, 0, 0, 0, 12)


def named(*names: str) -> list[Entry]:
    return [FILE._replace(name=name) for name in names]


def names(listing: Listing) -> list[str]:
    return [entry.name for entry in listing.entries]


def test_entries_are_sorted_by_the_bytes_of_their_names() -> None:
    # by code points the byte 0xff, held as U+DCFF, would come before U+1F600 and U+FB01
    given = named("\udcff", "\U0001f600", "\ufb01", "b", "B", "ä")
    assert names(screened(Listing(given))) == ["B", "b", "ä", "\ufb01", "\U0001f600", "\udcff"]


def test_honest_names_pass_however_odd_they_are() -> None:
    odd = ["...", " ", "\n", "-", "\\", "n" * 255, "ä" * 127, "\udc80"]
    listing = screened(Listing(named(*odd)))
    assert sorted(names(listing)) == sorted(odd)
    assert listing.problems == ()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "nul\0", "\ud800", "n" * 256, "ä" * 128])
def test_a_name_that_no_file_can_have_is_a_problem(name: str) -> None:
    listing = screened(Listing(named("good", name, "too")))
    assert names(listing) == ["good", "too"]
    (problem,) = listing.problems
    assert "name" in problem.reason
    assert "/" not in problem.path
    problem.path.encode()


def test_of_two_entries_of_one_name_the_second_is_a_problem() -> None:
    listing = screened(Listing([FILE, FILE._replace(name="other"), FILE._replace(inode=99)]))
    assert listing.entries == [FILE, FILE._replace(name="other")]
    assert listing.problems == (Problem("file", "a second entry of this name"),)


def test_an_unknown_kind_of_file_is_a_problem() -> None:
    listing = screened(Listing([FILE, FILE._replace(name="whiteout", mode=0o160644)]))
    assert listing.entries == [FILE]
    assert [problem.path for problem in listing.problems] == ["whiteout"]


def test_problems_that_the_reader_told_are_kept() -> None:
    told = (Problem("gone", "could not be examined"),)
    assert screened(Listing(named(".."), told)).problems[0] == told[0]
    assert screened(Listing([FILE], told)).problems == told


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", MAX_SIZE + 1), ("size", -1), ("uid", 1 << 32), ("gid", -1), ("inode", 1 << 64), ("rdev", 1 << 64)],
)
def test_numbers_that_no_file_can_have_are_refused(field: str, value: int) -> None:
    with pytest.raises(FileSystemError):
        check_numbers(FILE._replace(**{field: value}))


def test_the_largest_numbers_are_not_refused() -> None:
    top = (1 << 64) - 1
    check_numbers(
        FILE._replace(uid=(1 << 32) - 1, gid=(1 << 32) - 1, inode=top, device=top, links=top, size=MAX_SIZE, rdev=top)
    )
