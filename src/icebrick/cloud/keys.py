"""The keys of encrypted volumes, as Barbican has them; asked for only when a volume is to be opened."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from icebrick.cloud.api import Response
from icebrick.cloud.translate import error_from_response, translated
from icebrick.cloud.wait import Waiter
from icebrick.encryption import Encryption, VolumeKey
from icebrick.errors import ResourceMissingError, UsageError
from icebrick.secret import Secret

_FIXED_KEY = "00000000-0000-0000-0000-000000000000"
"""What Cinder calls the one key that is in its own configuration."""


class SecretSession(Protocol):
    """keystoneauth's adapter of the key manager, with the answers kept out of its log."""

    def request(self, url: str, method: str, *, headers: Mapping[str, str], log: bool) -> Response: ...


class BarbicanKeys:
    """With one user's rights."""

    def __init__(self, session: SecretSession, waiter: Waiter) -> None:
        self._session = session
        self._waiter = waiter

    def get(self, encryption: Encryption) -> VolumeKey:
        """AccessForbiddenError, or ResourceMissingError for a key that is not in Barbican."""
        key_id = encryption.key_id
        check_key_id(key_id)
        try:
            about = self._read(f"/secrets/{key_id}", "application/json", key_id).json()
        except UsageError as error:
            raise ResourceMissingError("this cloud has no key manager that the agent could ask") from error
        is_text = about.get("secret_type") == "passphrase"
        kind = "text/plain" if is_text else "application/octet-stream"
        payload = self._read(f"/secrets/{key_id}/payload", kind, key_id).content
        # As os_brick.utils.get_passphrase_from_secret does it, and so Cinder and Nova.
        return VolumeKey(encryption, Secret(payload.decode() if is_text else payload.hex()))

    def _read(self, path: str, kind: str, key_id: str) -> Response:
        return self._waiter.retry(lambda: self._request(path, kind, f"read key {key_id}"))

    def _request(self, path: str, kind: str, doing: str) -> Response:
        with translated(doing):
            response = self._session.request(path, "GET", headers={"Accept": kind}, log=False)
        if response.status_code >= 400:
            raise error_from_response(response.status_code, _reason(response), doing)
        return response


def check_key_id(key_id: str) -> None:
    """It becomes a part of an address, and a backup's record may have it from anywhere. ResourceMissingError."""
    try:
        valid = str(uuid.UUID(key_id)) == key_id.lower()
    except ValueError:
        valid = False
    if not valid:
        raise ResourceMissingError(f"{key_id!r} is no id of a key")
    if key_id == _FIXED_KEY:
        raise ResourceMissingError("the key is the fixed one of Cinder's configuration, which nobody else is told")


def _reason(response: Response) -> str:
    try:
        body: Any = response.json()
    except ValueError:
        return ""
    return str(body.get("description", "")) if isinstance(body, dict) else ""
