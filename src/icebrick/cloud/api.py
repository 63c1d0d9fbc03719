"""A service's REST API as JSON, Cinder's or Nova's: one microversion, one place for paging, retries and errors.

Plain requests through the SDK's session, not the SDK's resource classes: those keep stale state, send back
what was not changed, and lose the place in a listing when a volume vanishes (docs/design/decisions/0003).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from icebrick.cloud.translate import RateLimitedError, detail_of, error_from_response, translated
from icebrick.cloud.wait import Waiter
from icebrick.errors import CloudError, CloudUnavailableError, ResourceMissingError

_LOG = logging.getLogger(__name__)

Json = dict[str, Any]
_LISTING_ATTEMPTS = 10


class Response(Protocol):
    """What a session's request gives: the part of requests.Response that is used here."""

    status_code: int
    content: bytes

    def json(self) -> Any: ...


class Session(Protocol):
    """keystoneauth's adapter of one service."""

    def request(
        self, url: str, method: str, *, microversion: str, json: Mapping[str, Any] | None, params: Mapping[str, str]
    ) -> Response: ...


class RestApi:
    """Requests below /v3. `doing` completes the sentence "cannot ..." of an error, with the id in it."""

    def __init__(self, session: Session, microversion: str, waiter: Waiter) -> None:
        self._session = session
        self._microversion = microversion
        self._waiter = waiter

    def get(self, path: str, doing: str, **params: str) -> Json:
        """Retried while the cloud does not answer."""
        return self._waiter.retry(lambda: self._request("GET", path, doing, params=params))

    def post(self, path: str, body: Json, doing: str) -> Json:
        """Sent again only when it was turned away: a lost answer may hide a resource that was made."""
        return self._waiter.retry(lambda: self._request("POST", path, doing, body=body), only=RateLimitedError)

    def post_if_there(self, path: str, body: Json, doing: str) -> None:
        """As `post`, of what to do with something; that it is gone already is no error."""
        try:
            self.post(path, body, doing)
        except ResourceMissingError:
            _LOG.debug("already gone path=%s", path)

    def put(self, path: str, body: Json, doing: str) -> Json:
        """As `post`: connecting an attachment is not idempotent on every back end."""
        return self._waiter.retry(lambda: self._request("PUT", path, doing, body=body), only=RateLimitedError)

    def delete(self, path: str, doing: str) -> None:
        """Retried while the cloud does not answer; what is gone already is no error."""
        try:
            self._waiter.retry(lambda: self._request("DELETE", path, doing))
        except ResourceMissingError:
            _LOG.debug("already gone path=%s", path)

    def list_all(self, path: str, key: str, doing: str, **params: str) -> list[Json]:
        """All items of a paged collection.

        Anybody may delete the item that marks the place of the next page; Cinder then answers 404 and the
        listing is begun anew.
        """
        for _ in range(_LISTING_ATTEMPTS):
            try:
                return self._pages(path, key, doing, params)
            except ResourceMissingError:
                _LOG.debug("listing lost its place, beginning anew path=%s", path)
        raise CloudUnavailableError(f"cannot {doing}: items vanish faster than they can be listed")

    def _pages(self, path: str, key: str, doing: str, params: Mapping[str, str]) -> list[Json]:
        items: list[Json] = []
        marker: dict[str, str] = {}
        while page := self.get(path, doing, **params, **marker)[key]:  # attachments have no 'next' links: until empty
            items += page
            marker = {"marker": page[-1]["id"]}
        return items

    def _request(
        self, method: str, path: str, doing: str, *, body: Json | None = None, params: Mapping[str, str] | None = None
    ) -> Json:
        with translated(doing):
            response = self._session.request(
                path, method, microversion=self._microversion, json=body, params=params or {}
            )
        answer = _json(response)
        if response.status_code >= 400:
            raise error_from_response(response.status_code, detail_of(answer), doing)
        if not isinstance(answer, dict):
            raise CloudError(f"cannot {doing}: the answer is not a JSON object")
        return answer


def _json(response: Response) -> object:
    """The body; a proxy between us and Cinder may answer in HTML."""
    if not response.content:
        return {}
    try:
        return response.json()
    except ValueError:
        return None
