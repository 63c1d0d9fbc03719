"""A connection to an FTP server, with or without TLS; its errors are ours."""

from __future__ import annotations

import ftplib
import posixpath
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from icebrick.backend import layout
from icebrick.backend.base import FileInfo, Handle
from icebrick.backend.ranges import range_length
from icebrick.backend.sessions import MOST_BYTES, Entry, FileSession, check_length, reason
from icebrick.blockdev import Data
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    StorageFullError,
)

IDLE = 20.0
"""Seconds after which a connection is tried before it is used again: servers hang up on the idle."""

FTP_ERRORS: tuple[type[Exception], ...] = (*ftplib.all_errors, UnicodeError)
"""What ftplib raises; servers may answer with what is no UTF-8."""

_CHUNK = 1 << 20

_REFUSED = ("550", "553")
"""What servers answer when a file is missing, when one may not, and when a name is taken."""

_ERRORS: dict[str, type[BackendError]] = {
    "450": BackendUnavailableError,
    "452": StorageFullError,
    "500": BackendUnavailableError,  # also the last words of a vsftpd that lacks something for a moment
    "530": AccessDeniedError,
    "532": AccessDeniedError,
    "550": AccessDeniedError,
    "552": StorageFullError,
    "553": AccessDeniedError,
}

# -rw-------    1 14       50            768 Nov 23 12:47 name
_LISTED = re.compile(r"([-dl])\S{9}\S*\s+\d+\s+\S+\s+\S+\s+(\d+)\s+\S+\s+\S+\s+\S+\s(.+)")


class TlsFtp(ftplib.FTP_TLS):
    """Data connections resume the session of the control connection: servers refuse those that do not."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - TLS follows
        try:
            assert isinstance(self.sock, ssl.SSLSocket)  # logging in has begun it
            return self.context.wrap_socket(data, server_hostname=self.host, session=self.sock.session), size
        except BaseException:
            data.close()
            raise


class FtpSession(FileSession):
    """`ftp` is logged in and sends binary files; `root` is an absolute path on it."""

    def __init__(self, ftp: ftplib.FTP, root: str, server: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ftp = ftp
        self._root = root
        self._server = server
        self._clock = clock
        self._used = clock()
        self._in_doubt = False
        self._for_machines: bool | None = None  # whether it can list so; not asked yet

    def alive(self) -> bool:
        if not self._in_doubt and self._clock() - self._used > IDLE:
            try:
                self._ftp.voidcmd("NOOP")
                self._used = self._clock()
            except FTP_ERRORS:
                self._in_doubt = True
        return not self._in_doubt

    def close(self) -> None:
        with suppress(*FTP_ERRORS):
            if not self._in_doubt and self._ftp.sock is not None:
                self._ftp.sock.settimeout(5)
                self._ftp.quit()
        self._ftp.close()

    def read(self, handle: Handle, offset: int, length: int | None) -> bytes:
        path = layout.path_of(handle)
        size = self.size(path)
        wanted = range_length(FileInfo(handle, size), offset, length)
        check_length(wanted, path)
        if not wanted:
            return b""
        with self._translated("read", path):
            data = self._ftp.transfercmd(f"RETR {self._at(path)}", offset or None)
            with data, data.makefile("rb") as file:
                content = file.read(wanted)
            self._end_of_read(whole=offset + wanted == size)
            if len(content) != wanted:
                raise BackendUnavailableError(f"{self._server} sent {len(content)} instead of {wanted} bytes of {path}")
        return content

    def size(self, path: str) -> int:
        with self._translated("examine", path), self._telling_absence(path):
            size = self._ftp.size(self._at(path))
        if size is None:
            raise BackendError(f"{self._server} tells no size of {self._at(path)}")
        return size

    def modified(self, path: str) -> datetime | None:
        with self._translated("examine", path), self._telling_absence(path):
            try:
                answer = self._ftp.voidcmd(f"MDTM {self._at(path)}")
            except ftplib.error_perm as error:
                if str(error)[:2] == "50":  # no such command
                    return None
                raise
        try:
            return datetime.strptime(answer[4:18], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None

    def entries(self, directories: Sequence[str]) -> list[tuple[str, list[Entry]]]:
        found = []
        for directory in directories:
            with suppress(FileMissingError), self._translated("list", directory):
                with self._telling_absence(directory):
                    self._ftp.cwd(self._at(directory))
                found.append((directory, self._list()))
        return found

    def write_new(self, path: str, data: Data) -> None:
        where = self._at(path)
        view = memoryview(data).cast("B")
        with self._translated("save", path):
            with self._telling_absence(posixpath.dirname(path)):
                connection = self._ftp.transfercmd(f"STOR {where}")
            with connection:
                for start in range(0, len(view), _CHUNK):  # in pieces, as the timeout is for one call
                    connection.sendall(view[start : start + _CHUNK])
                if isinstance(connection, ssl.SSLSocket):
                    connection.unwrap()  # else the server cannot tell the end from an attack
            self._ftp.voidresp()
            size = self._ftp.size(where)
            if size != len(view):
                raise BackendUnavailableError(f"{where} has {size} bytes after {len(view)} were sent")

    def rename(self, old: str, new: str) -> None:
        with self._translated("save", new):
            self._ftp.sendcmd(f"RNFR {self._at(old)}")
            try:
                self._ftp.voidcmd(f"RNTO {self._at(new)}")
            except ftplib.error_perm:
                # The old file is there and whole, so it is the new name that is taken. Between the two there is no
                # file of that name; such servers know nothing better.
                self._ftp.delete(self._at(new))
                self._ftp.rename(self._at(old), self._at(new))

    def remove(self, path: str) -> None:
        with suppress(FileMissingError), self._translated("remove", path), self._telling_absence(path):
            self._ftp.delete(self._at(path))

    def make_directories(self, paths: Sequence[str]) -> None:
        for path in paths:
            with self._translated("create", path):
                self._make_directory(self._at(path))

    def make_root(self) -> list[str]:
        missing: list[str] = []
        with self._translated("create", ""):
            path = self._root
            while path != "/" and not self._enter(path):
                missing.insert(0, path)
                path = posixpath.dirname(path)
            for path in missing:
                self._make_directory(path)
        return missing

    def remove_directories(self, paths: Sequence[str]) -> None:
        for path in paths:
            with self._translated("remove", path):
                self._remove_directory(self._at(path))

    def remove_root(self, made: Sequence[str]) -> bool:
        with self._translated("remove", ""):
            return all([self._remove_directory(path) for path in reversed(made)])

    def sync_directory(self, path: str) -> None:
        """FTP has no words for it."""

    def _at(self, path: str) -> str:
        return posixpath.join(self._root, path) if path else self._root

    def _list(self) -> list[Entry]:
        """What is in the directory we are in. Not with ftplib's commands, which leave the connection in text mode."""
        if self._for_machines is None:
            self._for_machines = self._lists_for_machines()
        with self._ftp.transfercmd("MLSD" if self._for_machines else "LIST") as data:
            content = bytearray()
            while len(content) < MOST_BYTES and (part := data.recv(_CHUNK)):
                content += part
        self._ftp.voidresp()
        lines = content.decode(errors="surrogateescape").splitlines()
        parse = _entry_for_machines if self._for_machines else _entry
        return [entry for line in lines if (entry := parse(line)) is not None]

    def _lists_for_machines(self) -> bool:
        try:
            features = self._ftp.sendcmd("FEAT").upper()
        except ftplib.error_perm:
            return False
        return " MLST" in features or " MLSD" in features

    def _end_of_read(self, *, whole: bool) -> None:
        """Take the server's last word; when we hung up in the middle, that may be a complaint."""
        try:
            self._ftp.voidresp()
        except (ftplib.error_temp, ftplib.error_perm):
            if whole:
                raise

    def _enter(self, path: str) -> bool:
        try:
            self._ftp.cwd(path)
        except ftplib.error_perm as error:
            if not str(error).startswith(_REFUSED):
                raise
            return False
        return True

    def _make_directory(self, path: str) -> None:
        try:
            self._ftp.mkd(path)
        except ftplib.error_perm as error:
            if not self._enter(path):
                if self._absent(posixpath.dirname(path)):
                    raise FileMissingError(f"{posixpath.dirname(path)} is not on {self._server}") from error
                raise

    def _remove_directory(self, path: str) -> bool:
        try:
            self._ftp.rmd(path)
        except ftplib.error_perm:
            return self._absent(path)
        return True

    @contextmanager
    def _telling_absence(self, path: str) -> Iterator[None]:
        """Where a refusal may mean that `path` is not there, find out."""
        try:
            yield
        except ftplib.error_perm as error:
            if str(error).startswith(_REFUSED) and self._absent(self._at(path)):
                raise FileMissingError(f"{self._at(path)} is not on {self._server}") from error
            raise

    def _absent(self, path: str) -> bool:
        """Whether the listing of the directory above shows that there is no such name."""
        above, name = posixpath.split(path)
        if not name:
            return False
        if self._enter(above):
            return all(entry.name != name for entry in self._list())
        return self._absent(above)

    @contextmanager
    def _translated(self, verb: str, path: str) -> Iterator[None]:
        self._used = self._clock()
        try:
            yield
        except FileMissingError:
            raise
        except BaseException as error:
            self._in_doubt = not (isinstance(error, ftplib.error_perm) and str(error).startswith(_REFUSED))
            if isinstance(error, FTP_ERRORS):
                raise translation(error, f"cannot {verb} {self._at(path)} on {self._server}") from error
            raise


def translation(error: BaseException, message: str) -> BackendError:
    """What ftplib or the network raised, as ours."""
    text = "connection lost" if isinstance(error, EOFError) else reason(error)
    kind: type[BackendError] = BackendUnavailableError
    hint = None
    if isinstance(error, (ftplib.error_perm, ftplib.error_temp)):
        kind = _ERRORS.get(text[:3], BackendError if text[:1] == "5" else BackendUnavailableError)
    elif isinstance(error, ssl.SSLCertVerificationError):
        kind, hint = BackendError, "Name the authority that signed the server's certificate: --cacert FILE."
    elif isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
        kind, hint = BackendError, "Check the name of the host."
    return kind(f"{message}: {text}", hint=hint)


def _entry_for_machines(line: str) -> Entry | None:
    """type=file;size=768;modify=20261123124700;... name"""
    facts, _, name = line.partition(" ")
    said = dict(fact.lower().split("=", 1) for fact in facts.split(";") if "=" in fact)
    size = said.get("size", "0")
    return Entry(name, int(size), is_file=said.get("type") == "file") if name and size.isdecimal() else None


def _entry(line: str) -> Entry | None:
    match = _LISTED.fullmatch(line)
    return Entry(match[3], int(match[2]), is_file=match[1] == "-") if match else None
