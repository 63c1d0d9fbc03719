"""How every resource of Cinder's comes and goes: asked for, waited for, and explained when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from icebrick.cloud.api import Json, RestApi
from icebrick.cloud.wait import Resource, S, T, Waiter
from icebrick.errors import CloudError, ResourceMissingError, UnexpectedStateError

_LOG = logging.getLogger(__name__)

_AVAILABLE = frozenset({"available"})


class Lifecycle:
    """Of all kinds alike."""

    def __init__(self, api: RestApi, waiter: Waiter) -> None:
        self._api = api
        self._waiter = waiter

    def until_made(self, get: Callable[[], S], what: Resource) -> S:
        """As `until_available`, of what is new: Interrupted when the run is to end."""
        return self.until_available(self._unless_stopped(get), what)

    def until_available(self, get: Callable[[], S], what: Resource) -> S:
        """As of the moment it was; UnexpectedStateError, with Cinder's reason, when it went elsewhere."""
        with self._explained(get):
            return self._waiter.until(get, _AVAILABLE, what=what, seconds=self._waiter.pace.work)

    def until_gone(
        self, find: Callable[[], S | None], what: Resource, *, again: Callable[[], object] | None = None
    ) -> None:
        """UnexpectedStateError, with Cinder's reason, when it stays. `again` deletes once more what was busy."""
        with self._explained(find):
            self._waiter.until_gone(find, what=what, seconds=self._waiter.pace.work, again=again)

    def delete(self, path: str, find: Callable[[], S | None], what: Resource) -> None:
        """Also what is busy for a moment; it is gone on return. UnexpectedStateError, with Cinder's reason."""

        def ask() -> None:
            self._api.delete(path, f"delete {what}")

        ask()
        self.until_gone(find, what, again=ask)

    def settled(self, find: Callable[[], S | None], changing: frozenset[str], what: Resource) -> S | None:
        """Wait out what somebody asked for; what it became, None when it is gone.

        UnexpectedStateError when it does not end, or ended in a state in which Cinder allows nothing.
        """
        found = self._waiter.while_in(find, changing, what=what, seconds=self._waiter.pace.settle)
        if found is not None and found.status == "error_deleting":
            raise UnexpectedStateError(f"{what} is in state error_deleting", hint=what.admin_hint)
        return found

    def at_rest(self, find: Callable[[], S | None], changing: frozenset[str], what: Resource) -> S | None:
        """As `settled`, before something new is begun: Interrupted when the run is to end."""
        return self.settled(self._unless_stopped(find), changing, what)

    @contextmanager
    def discarded_on_error(self, delete: Callable[[], None], what: Resource) -> Iterator[None]:
        """What the block makes and then fails with is deleted; that this fails too is left to a later cleanup."""
        with ExitStack() as undo:
            undo.callback(_discard, delete, what)
            yield
            undo.pop_all()

    def _unless_stopped(self, look: Callable[[], T]) -> Callable[[], T]:
        def look_unless_stopped() -> T:
            self._waiter.stop.check()
            return look()

        return look_unless_stopped

    @contextmanager
    def _explained(self, look: Callable[[], S | None]) -> Iterator[None]:
        """Add what Cinder tells its users about a failure, which is often the only reason there is."""
        try:
            yield
        except UnexpectedStateError as error:
            reason = self._user_message(look)
            if not reason:
                raise
            raise UnexpectedStateError(f"{error}: {reason}", hint=error.hint) from error

    def _user_message(self, look: Callable[[], S | None]) -> str:
        try:
            failed = look()
            if failed is None:
                return ""
            messages = self._api.get("/messages", "read messages", resource_uuid=failed.id)["messages"]
        except CloudError as error:
            _LOG.debug("no user message error=%s", error)
            return ""
        newest: Json = max(messages, key=lambda message: str(message.get("created_at")), default={})
        return str(newest.get("user_message", "")).rstrip(".")


def found_by(get: Callable[[], S]) -> S | None:
    """What `get` returns; None when it does not exist."""
    try:
        return get()
    except ResourceMissingError:
        return None


def _discard(delete: Callable[[], None], what: Resource) -> None:
    """Delete what came to nothing; the error that brought us here matters more than a failure to do so."""
    try:
        delete()
    except CloudError as error:
        _LOG.warning("left behind, to be removed by a later cleanup: %s error=%s", what, error)
