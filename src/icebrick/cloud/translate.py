"""Errors of HTTP, Keystone and the SDK to ours; nothing above this file sees theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from icebrick.errors import (
    AccessForbiddenError,
    CloudError,
    CloudUnavailableError,
    QuotaError,
    ResourceMissingError,
    UnexpectedStateError,
    UsageError,
)

_CREDENTIALS_HINT = "Check the cloud's entry in clouds.yaml, or the OS_* environment variables."
_QUOTA_HINT = "Raise the project's quota, delete what is not needed, or work on fewer volumes at a time."
_STATE_REFUSALS = (
    "Invalid volume:",
    "Invalid snapshot:",
    "Invalid attachment:",
    "Invalid Group:",
    "Invalid GroupSnapshot:",
)
_RATE_LIMITED = 429
_LONGEST_DETAIL = 400
"""Characters; Cinder repeats the whole of a value that it finds too long."""


class RateLimitedError(CloudUnavailableError):
    """The request was turned away unprocessed, so any request may be sent again."""


def error_from_response(status: int, detail: str, doing: str) -> CloudError:
    """Our error for an HTTP status of 400 or more; `doing` completes "cannot ...", with the id."""
    message = f"cannot {doing}: {detail or 'no reason given'} (HTTP {status})"
    if status == _RATE_LIMITED:
        return RateLimitedError(message)
    if status == 413 or (status == 403 and "quota" in detail.lower()):
        return QuotaError(message, hint=_QUOTA_HINT)
    if status >= 500:
        return CloudUnavailableError(message)
    if status == 409 or (status == 400 and detail.startswith(_STATE_REFUSALS)):
        return UnexpectedStateError(message)
    if status == 401:
        return AccessForbiddenError(message, hint=_CREDENTIALS_HINT)
    kinds: dict[int, type[CloudError]] = {403: AccessForbiddenError, 404: ResourceMissingError}
    return kinds.get(status, CloudError)(message)


def detail_of(body: object) -> str:
    """The message in an error body: {"badRequest": {"message": ...}}, {"error": {...}}, else empty."""
    if isinstance(body, Mapping):
        for value in body.values():
            if isinstance(value, Mapping) and isinstance(value.get("message"), str):
                return str(value["message"]).rstrip(".")[:_LONGEST_DETAIL]
    return ""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise as ours what the SDK and keystoneauth raise inside the block.

    Both are imported here and not above: they take most of a second, which `icebrick --help` must not.
    """
    import keystoneauth1.exceptions as auth_errors  # noqa: PLC0415
    import openstack.exceptions as sdk_errors  # noqa: PLC0415

    try:
        yield
    except (auth_errors.MissingRequiredOptions, auth_errors.AuthPluginException, sdk_errors.ConfigException) as error:
        raise UsageError(f"cannot {doing}: {_text(error)}", hint=_CREDENTIALS_HINT) from error
    except (auth_errors.Unauthorized, auth_errors.AuthorizationFailure, auth_errors.MissingAuthMethods) as error:
        raise AccessForbiddenError(f"cannot {doing}: {_text(error)}", hint=_CREDENTIALS_HINT) from error
    except auth_errors.EndpointNotFound as error:
        hint = "Check the catalog, the region and the interface: the service must be in it."
        raise UsageError(f"cannot {doing}: {_text(error)}", hint=hint) from error
    except auth_errors.HttpError as error:
        raise error_from_response(error.http_status, _text(error), doing) from error
    except (auth_errors.ConnectionError, auth_errors.DiscoveryFailure) as error:
        raise CloudUnavailableError(f"cannot {doing}: {_shortened(_text(error))}") from error
    except (auth_errors.ClientException, sdk_errors.SDKException) as error:
        raise CloudError(f"cannot {doing}: {_text(error)}") from error


def _text(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _shortened(text: str) -> str:
    """The address and the last cause of a failed connection, without the library objects in between."""
    address, aborted, _ = text.partition(": ('Connection aborted.'")
    if aborted:
        return f"{address}: the connection broke off"
    address, _, causes = text.partition(": HTTP")
    cause = causes.rpartition("): ")[2].strip("()\"'")
    return f"{address}: {cause}" if cause else text
