"""What S3's error codes mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icebrick.backend.http.status import error_of_status, printable
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    StorageFullError,
)

_REGION_HINT = "Name the bucket's region with -o s3.region=REGION."
_CLOCK_HINT = "Set this host's clock: S3 refuses requests whose time differs from its own."
_ARCHIVE_HINT = "Let the storage bring the repository's data back from the archive first."

# Where the status alone would tell something else.
_PASSING = frozenset({"BadDigest", "IncompleteBody", "OperationAborted", "RequestTimeout", "SlowDown", "Throttling"})
_FULL = frozenset({"InsufficientCapacity", "QuotaExceeded", "StorageFull", "XMinioStorageFull", "EntityTooLarge"})
_DENIED = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired"})
_HINTS: dict[str, tuple[type[BackendError], str]] = {
    "AuthorizationHeaderMalformed": (BackendError, _REGION_HINT),
    "IllegalLocationConstraintException": (BackendError, _REGION_HINT),
    "InvalidObjectState": (BackendError, _ARCHIVE_HINT),
    "PermanentRedirect": (BackendError, _REGION_HINT),
    "RequestTimeTooSkewed": (AccessDeniedError, _CLOCK_HINT),
}


def error_of_code(response: Mapping[str, Any], doing: str, bucket: str, absent: type[BackendError]) -> BackendError:
    """Our error for a response that the library took for one; `absent` is what a missing object or bucket means."""
    code = printable(str(response.get("Error", {}).get("Code", "")))
    words = printable(str(response.get("Error", {}).get("Message", "")))
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    detail = words if code.isdecimal() else f"{words} ({code})"
    message = f"cannot {doing}: {detail}"
    if code == "NoSuchBucket" or (status == 404 and absent is not FileMissingError):
        return absent(f"cannot {doing}: there is no bucket {bucket}", hint="'icebrick init' makes it.")
    if code in _HINTS:
        kind, hint = _HINTS[code]
        return kind(message, hint=hint)
    for codes, meaning in (
        (_PASSING, BackendUnavailableError),
        (_FULL, StorageFullError),
        (_DENIED, AccessDeniedError),
    ):
        if code in codes:
            return meaning(message)
    headers = {name.title(): value for name, value in metadata.get("HTTPHeaders", {}).items()}
    return error_of_status(status, doing, detail=detail, headers=headers)
