"""What FTP servers say, and what it is taken for."""

from __future__ import annotations

import ftplib
import ssl

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.ftp.session import IDLE, FtpSession, _entry, _entry_for_machines, translation
from icebrick.backend.sessions import Entry
from icebrick.errors import AccessDeniedError, BackendError, BackendUnavailableError, StorageFullError


class Server(ftplib.FTP):
    """Answers each command as told, by its first word or all of it; else with 200."""

    def __init__(self, **answers: str) -> None:
        super().__init__()
        self.answers = answers
        self.heard: list[str] = []

    def sendcmd(self, cmd: str) -> str:
        self.heard.append(cmd)
        answer = self.answers.get(cmd.split(maxsplit=1)[0], "200 fine")
        if answer[0] == "4":
            raise ftplib.error_temp(answer)
        if answer[0] == "5":
            raise ftplib.error_perm(answer)
        return answer

    voidcmd = sendcmd


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def session(server: Server, clock: Clock | None = None) -> FtpSession:
    return FtpSession(server, "/repo", "host:21", clock=clock or Clock())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-rw-------    1 14       50            768 Nov 23 12:47 abc", Entry("abc", 768, is_file=True)),
        ("-rw-r--r--   1 ann users 5368709120 Jan  3  2025 a b  c", Entry("a b  c", 5368709120, is_file=True)),
        ("drwx------+   2 0        0          4096 Nov 23 12:47 data", Entry("data", 4096, is_file=False)),
        ("lrwxrwxrwx    1 0        0            11 Nov 23 12:47 a -> b", Entry("a -> b", 11, is_file=False)),
        ("total 12", None),
        ("", None),
        ("11-23-26  12:47PM       <DIR>          data", None),
    ],
)
def test_a_listing_is_read_line_by_line(line, expected):
    assert _entry(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("type=file;size=768;modify=20261123124700; abc", Entry("abc", 768, is_file=True)),
        ("Type=file;Size=768; a b", Entry("a b", 768, is_file=True)),
        ("type=dir;perm=el; data", Entry("data", 0, is_file=False)),
        ("type=cdir; .", Entry(".", 0, is_file=False)),
        ("type=OS.unix=slink:/x;size=3; link", Entry("link", 3, is_file=False)),
        ("type=file;size=-5; abc", None),
        ("nonsense", None),
    ],
)
def test_so_is_a_listing_for_machines(line, expected):
    assert _entry_for_machines(line) == expected


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (ftplib.error_perm("530 Login incorrect."), AccessDeniedError, False),
        (ftplib.error_perm("550 Permission denied."), AccessDeniedError, False),
        (ftplib.error_perm("552 Quota exceeded."), StorageFullError, False),
        (ftplib.error_temp("452 No space."), StorageFullError, False),
        (ftplib.error_perm("500 OOPS: vsf_sysutil_bind"), BackendUnavailableError, True),
        (ftplib.error_temp("421 Timeout."), BackendUnavailableError, True),
        (ftplib.error_temp("426 Failure writing network stream."), BackendUnavailableError, True),
        (ftplib.error_perm("502 Not implemented."), BackendError, False),
        (ftplib.error_proto("what"), BackendUnavailableError, True),
        (EOFError(), BackendUnavailableError, True),
        (TimeoutError(), BackendUnavailableError, True),
        (ConnectionResetError("reset"), BackendUnavailableError, True),
        (ssl.SSLError("[SSL: WRONG_VERSION_NUMBER]"), BackendUnavailableError, True),
        (ssl.SSLCertVerificationError("self-signed"), BackendError, False),
    ],
)
def test_refusals_are_for_good_and_failures_may_pass(error, kind, retryable):
    translated = translation(error, "cannot save x")
    assert type(translated) is kind
    assert translated.retryable is retryable
    assert str(translated).startswith("cannot save x: ")


def test_what_a_server_says_does_not_steer_the_terminal():
    assert "\x1b" not in str(translation(ftplib.error_perm("550 \x1b[2J gone"), "cannot save x"))


def test_a_size_that_no_file_of_a_repository_has_takes_no_memory():
    with pytest.raises(BackendError, match="bytes"):
        session(Server(SIZE=f"213 {1 << 60}")).read(Handle(FileType.CONFIG), 0, None)


def test_a_server_that_does_not_replace_a_file_by_a_rename_has_it_removed_first():
    class Strict(Server):
        def sendcmd(self, cmd):
            self.answers["RNTO"] = "250 done" if "DELE /repo/new" in self.heard else "553 File exists."
            return "350 go on" if super().sendcmd(cmd) and cmd.startswith("RNFR") else "250 done"

        voidcmd = sendcmd

    server = Strict()
    session(server).rename("old", "new")
    assert server.heard == [
        "RNFR /repo/old",
        "RNTO /repo/new",
        "DELE /repo/new",
        "RNFR /repo/old",
        "RNTO /repo/new",
    ]


def test_nothing_is_removed_when_the_file_to_rename_is_gone():
    server = Server(RNFR="550 No such file.")
    with pytest.raises(AccessDeniedError):
        session(server).rename("old", "new")
    assert server.heard == ["RNFR /repo/old"]


def test_a_connection_that_was_idle_is_tried_before_it_is_used():
    server, clock = Server(), Clock()
    found = session(server, clock)
    assert found.alive()
    assert server.heard == []
    clock.now = IDLE + 1
    assert found.alive()
    assert server.heard == ["NOOP"]


def test_one_that_the_server_has_closed_is_not_alive():
    clock = Clock()
    found = session(Server(NOOP="421 Timeout."), clock)
    clock.now = IDLE + 1
    assert not found.alive()


@pytest.mark.parametrize(("answer", "alive"), [("550 No.", True), ("421 Bye.", False), ("500 OOPS", False)])
def test_a_connection_is_used_again_only_after_a_plain_refusal(answer, alive):
    found = session(Server(RMD=answer, CWD=answer, DELE=answer, MKD=answer))
    with pytest.raises(BackendError):
        found.make_directories(["data"])
    assert found.alive() is alive


@pytest.mark.parametrize("answer", ["213 yesterday", "500 What?", "502 Not implemented."])
def test_a_server_that_tells_no_times_has_files_of_no_age(answer):
    assert session(Server(MDTM=answer)).modified("config") is None
