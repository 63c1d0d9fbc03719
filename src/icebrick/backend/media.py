"""From a location to the backend that serves it. Each medium's library is imported only when it is used."""

from __future__ import annotations

from pathlib import Path

from icebrick.backend.base import Backend
from icebrick.backend.local import LocalBackend
from icebrick.backend.location import Location
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.options import BackendOptions
from icebrick.errors import UsageError


def open_backend(location: Location, options: BackendOptions | None = None) -> Backend:
    """The backend, without wrappers; UsageError for an address or option that cannot be meant.

    Nothing is asked of the storage yet.
    """
    options = options or BackendOptions()
    match location.scheme:
        case "local":
            return _local(location)
        case "mem":
            return _memory(location)
        case "rest":
            return _rest(location, options)
        case "s3":
            return _s3(location, options)
        case "swift":
            return _swift(location, options)
        case "rclone":
            return _rclone(location, options)
        case "ftp" | "ftps":
            return _ftp(location, options)
        case "sftp":
            return _sftp(location, options)
        case scheme:
            raise UsageError(f"no backend for {scheme} in this version")


def _local(location: Location) -> Backend:
    if not location.address:
        raise UsageError("the repository location local: lacks a path")
    return LocalBackend(Path(location.address).absolute())


def _memory(location: Location) -> Backend:
    if location.address:
        raise UsageError(f"the repository location {location.scheme}: takes no address")
    return MemoryBackend()


def _rest(location: Location, options: BackendOptions) -> Backend:
    from icebrick.backend.rest import open_rest  # noqa: PLC0415

    return open_rest(location, options)


def _rclone(location: Location, options: BackendOptions) -> Backend:
    from icebrick.backend.rclone import open_rclone  # noqa: PLC0415

    return open_rclone(location, options)


def _sftp(location: Location, options: BackendOptions) -> Backend:
    try:
        from icebrick.backend.sftp.backend import open_sftp  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError("for SFTP a library is missing", hint="Install it: pip install 'icebrick[sftp]'.") from error

    return open_sftp(location, options)


def _ftp(location: Location, options: BackendOptions) -> Backend:
    from icebrick.backend.ftp.backend import open_ftp  # noqa: PLC0415

    return open_ftp(location, options)


def _s3(location: Location, options: BackendOptions) -> Backend:
    try:
        from icebrick.backend.s3.backend import open_s3  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError("for S3 a library is missing", hint="Install it: pip install 'icebrick[s3]'.") from error

    return open_s3(location, options)


def _swift(location: Location, options: BackendOptions) -> Backend:
    from icebrick.backend.swift.backend import open_swift  # noqa: PLC0415

    return open_swift(location, options)
