"""What a guest says is believed nothing; and what an honest one says is asked for ahead, and all there."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import count, repeat
from pathlib import Path

import pytest

from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file import guesttree
from icebrick.engine.file.backup import FilesResult, backup_files
from icebrick.engine.file.base import MAX_SIZE, FileTree
from icebrick.engine.file.guesttree import mounted
from icebrick.engine.file.hosttree import HostTree
from icebrick.errors import FileSystemError, Interrupted, ReaderError
from icebrick.microvm import channel as channel_module
from icebrick.microvm import wire
from icebrick.microvm.channel import Channel, Patience
from icebrick.parallel import Stop
from icebrick.testing.guests import Peer, answering, read_question, serving, talking_to
from icebrick.testing.images import small_repository
from icebrick.testing.oddtree import plant

SOON = Patience(answer=0.3, total=60)


def status(mode: int = stat.S_IFDIR | 0o755, size: int = 0) -> bytes:
    return wire.STATUS.pack(mode, 0, 0, 1, 2, 3, 4, 5, 1, size, 0)


def entry(name: bytes, mode: int = stat.S_IFREG | 0o644, size: int = 0) -> bytes:
    return wire.EXAMINED.pack(0, len(name)) + name + status(mode, size)


def listing(*entries: bytes, more: int = 0) -> bytes:
    return wire.LISTED.pack(more, len(entries)) + b"".join(entries)


def fetched(data: bytes = b"", *, handle: int = 0, hole: int = 0, attributes: bytes = b"") -> bytes:
    told = wire.NUMBER.pack(0) + wire.NUMBER.pack(len(attributes)) + attributes
    return wire.FETCHED.pack(0, handle) + told + part(data, hole=hole, ended=not handle)


def part(data: bytes = b"", *, hole: int = 0, ended: bool = False, length: int | None = None) -> bytes:
    return wire.PART.pack(hole, ended, len(data) if length is None else length) + data


HONEST: Mapping[int, bytes] = {
    wire.MOUNT: wire.MOUNTED.pack(1, 0) + status(),
    wire.ENTER: wire.NUMBER.pack(2) + status(),
    wire.ATTRIBUTES: b"",
    wire.FETCH: fetched(),
    wire.CLOSE: b"",
}
"""What an honest guest could say of a root directory, but what is in it."""


def saying(**answers: bytes | Iterator[bytes]) -> Peer:
    return answering({**HONEST, **{getattr(wire, name): answer for name, answer in answers.items()}})


def save(tree: FileTree) -> FilesResult:
    with small_repository(MemoryBackend()).load_index().writer() as writer:
        return backup_files(tree, writer)


def backed_up(peer: Peer, patience: Patience = SOON) -> FilesResult:
    with talking_to(peer, patience) as channel:
        return save(mounted(channel, "ext4"))


def raw(*messages: bytes) -> Peer:
    """Sends these bytes in answer to the first question, and then nothing until we hang up."""

    def peer(connection: socket.socket) -> None:
        read_question(connection)
        for message in messages:
            connection.sendall(message)
        while connection.recv(1 << 16):
            pass

    return peer


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (wire.HEADER.pack(0xFFFFFFFF, 0, wire.DONE), "gave an answer of 4294967295 bytes"),
        (wire.HEADER.pack(0, 7, wire.DONE), "gave an answer that nobody asked for"),
        (wire.HEADER.pack(0, 0, 99), "gave an answer that nobody asked for"),
        (wire.HEADER.pack(3, 0, wire.FAILED) + b"abc", "gave a reason that is none"),
        (wire.HEADER.pack(3, 0, wire.DONE) + b"abc", "gave an answer that cannot be"),
        (wire.HEADER.pack(70, 0, wire.DONE) + HONEST[wire.MOUNT].ljust(70), "gave an answer that cannot be"),
        (b"", "did not answer within 0 seconds"),
        (wire.HEADER.pack(100, 0, wire.DONE) + b"the beginning", "did not answer within 0 seconds"),
        (wire.HEADER.pack(4, 0, wire.FAILED) + b"\xff" * 4, "cannot be mounted: unknown error"),
    ],
    ids=["huge", "other number", "other kind", "bad reason", "short", "long", "silence", "half", "strange reason"],
)
def test_an_answer_that_cannot_be_is_an_error_within_the_time(message: bytes, what: str) -> None:
    with pytest.raises((ReaderError, FileSystemError), match=what):
        backed_up(raw(message))


def test_a_guest_that_ends_is_an_error_and_no_snapshot_of_what_was_read_until_then() -> None:
    directories = listing(*(entry(b"%d" % number, stat.S_IFDIR | 0o755) for number in range(100)))
    with pytest.raises(ReaderError, match="the virtual machine that reads the file system ended"):
        backed_up(saying(ENTER=iter([HONEST[wire.ENTER]]), LIST=directories))


def test_all_questions_fail_at_once_when_the_guest_is_gone() -> None:
    with talking_to(saying()) as channel, closing(mounted(channel, "ext4").open_root()) as top:
        for _ in range(3):
            with pytest.raises(ReaderError, match="ended"):
                top.list()


@pytest.mark.parametrize("name", [b"../../etc/passwd", b"a/b", b"..", b".", b"", b"nul\0"])
def test_names_that_lead_elsewhere_are_problems(name: bytes) -> None:
    result = backed_up(saying(LIST=listing(entry(name), entry(b"good"))))
    assert [problem.reason for problem in result.problems] == ["no name that a file can have"]
    assert result.stats.files_new == 1


def test_numbers_that_no_file_can_have_are_problems() -> None:
    result = backed_up(saying(LIST=listing(entry(b"negative", size=-1), entry(b"huge", size=MAX_SIZE + 1))))
    assert {problem.path for problem in result.problems} == {"/negative", "/huge"}


FILE = listing(entry(b"file", size=10))
NOT_NOW = wire.FETCHED.pack(wire.NOT_NOW, 0)


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ({"LIST": listing(more=1)}, "lists a directory without end"),
        ({"LIST": wire.LISTED.pack(0, 0xFFFFFFFF)}, "gave an answer that cannot be"),
        ({"LIST": wire.LISTED.pack(0, 1) + wire.EXAMINED.pack(0, 0xFFFF) + b"x"}, "gave an answer that cannot be"),
        ({"LIST": FILE, "FETCH": fetched(handle=9), "READ": part()}, "reads a file without end"),
        ({"LIST": FILE, "FETCH": fetched(hole=MAX_SIZE + 1)}, "gave an answer that cannot be"),
        ({"LIST": FILE, "FETCH": fetched(attributes=b"\xff" * 9)}, "gave an answer that cannot be"),
        ({"LIST": FILE, "FETCH": fetched() + b"more"}, "gave an answer that cannot be"),
        ({"LIST": FILE, "FETCH": NOT_NOW}, "does not give a file that was asked for alone"),
        ({"ATTRIBUTES": b"\xff\xffx"}, "gave an answer that cannot be"),
    ],
    ids=["list", "count", "name", "file", "hole", "file's attributes", "trailing", "never now", "attributes"],
)
def test_what_has_no_end_or_does_not_fit_ends_it(answers: dict[str, bytes], what: str) -> None:
    with pytest.raises(ReaderError, match=what):
        backed_up(saying(**answers))


def test_a_listing_that_goes_on_for_ever_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesttree, "MAX_ENTRIES", 50)
    endless = (listing(entry(b"%d" % number), more=1) for number in count())
    with talking_to(saying(LIST=endless)) as channel, closing(mounted(channel, "ext4").open_root()) as top:
        found = top.list()
    assert len(found.entries) == 51
    assert found.problems[0].reason == "only the first 51 entries were read"


def test_a_file_that_gives_more_than_was_listed_is_not_read_for_ever() -> None:
    data = b"x" * 1000
    result = backed_up(saying(LIST=FILE, FETCH=fetched(data, handle=3), READ=repeat(part(data))))
    assert result.stats.bytes_total <= 1 << 20


def test_a_run_that_is_to_end_does_not_wait_for_a_silent_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_LOOKING_UP", 0.01)
    stop = Stop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        question = Channel(ours, Patience(), stop=stop).ask(wire.HELLO)
        stop.ask()
        with pytest.raises(Interrupted):
            question.answer()


def test_asking_never_waits_for_a_guest_that_reads_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours, Patience(answer=0.3))
        with pytest.raises(ReaderError, match="did not answer"):
            for _ in range(10_000):
                channel.ask(wire.LIST, bytes(wire.MAX_REQUEST))


def test_an_honest_guest_gives_what_this_host_reads(tmp_path: Path) -> None:
    plant(tmp_path, entries=3000, privileged=os.geteuid() == 0)
    descriptor = os.open(tmp_path, os.O_PATH)
    try:
        own = save(HostTree(descriptor))
    finally:
        os.close(descriptor)
    with serving(tmp_path) as channel:
        theirs = save(mounted(channel, "ext4"))
    assert (theirs.node, theirs.stats, theirs.problems) == (own.node, own.stats, own.problems)


def test_holes_are_told_and_skipped(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"data")
        file.truncate(5 << 20)
    with serving(tmp_path) as channel, closing(mounted(channel, "ext4").open_root()) as top:
        buffer = memoryview(bytearray(1 << 20))
        with top.open_file("sparse") as content:
            assert content.hole() == 3 << 20
            content.skip(content.hole())
            assert content.hole() == 0
            assert bytes(buffer[: content.read_into(buffer)]).rstrip(b"\0") == b"data"
            assert content.hole() >= 900 << 10


def count_fetches(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    asked: list[int] = []
    ask = Channel.ask
    monkeypatch.setattr(Channel, "ask", lambda self, kind, body=b"": (asked.append(kind), ask(self, kind, body))[1])
    return lambda: asked.count(wire.FETCH)


def test_files_that_are_expected_are_fetched_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
    fetches = count_fetches(monkeypatch)
    with serving(tmp_path) as channel, closing(mounted(channel, "ext4").open_root()) as top:
        found = top.list().entries
        top.expect(found)
        for each in found:
            with top.open_file(each.name) as content:
                buffer = memoryview(bytearray(10))
                assert bytes(buffer[: content.read_into(buffer)]) == each.name.encode()
    assert fetches() == 1


def test_what_finds_no_room_in_an_answer_is_fetched_again(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 50_000)
    with serving(tmp_path) as channel, closing(mounted(channel, "ext4").open_root()) as top:
        found = [each._replace(size=0) for each in top.list().entries]  # as if they had grown since
        top.expect(found)
        for each in found:
            with top.open_file(each.name) as content:
                buffer = memoryview(bytearray(60_000))
                assert bytes(buffer[: content.read_into(buffer)]) == bytes([int(each.name)]) * 50_000
