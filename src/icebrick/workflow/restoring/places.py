"""Whose a restored volume becomes, and through which login it is made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from icebrick.cloud.base import Cloud, Volume
from icebrick.cloud.temporary import Owner, transfer_volume
from icebrick.errors import AccessForbiddenError, CloudError, UsageError
from icebrick.workflow.access import VolumeAccess
from icebrick.workflow.restoring.outcome import Offer

log = logging.getLogger(__name__)

Enter = Callable[[str], AbstractContextManager[VolumeAccess]]
"""The same user in another project; AccessForbiddenError without a role there."""
Logins = Mapping[str, Callable[[], AbstractContextManager[Cloud]]]
"""By project: whoever may accept volumes there."""


@dataclass(frozen=True, slots=True)
class Place:
    """A project, and the way to its volumes. Where the way is another project's, what is made has to be handed over."""

    project_id: str
    access: VolumeAccess
    receiver: Cloud | None = None
    """Accepts what is handed over; without one, somebody has to do so later."""

    @property
    def is_direct(self) -> bool:
        return self.access.cloud.project().id == self.project_id

    @contextmanager
    def given(self, volume: Volume, owner: Owner) -> Iterator[Offer | None]:
        """The finished volume handed over, if it has to be; taken back when the block fails."""
        if self.is_direct:
            yield None
            return
        refusal = self._give(volume, owner)
        if refusal is None:
            yield None
            return
        cloud = self.access.cloud
        offered = cloud.create_transfer(volume.id, name=self.access.run.mark)
        assert offered.key is not None, "told when it is created"
        with ExitStack() as undo:
            undo.callback(cloud.delete_transfer, offered.id)
            yield Offer(offered.id, offered.key, refusal)
            undo.pop_all()

    def _give(self, volume: Volume, owner: Owner) -> str | None:
        """Why nobody has accepted it; None when somebody has."""
        if self.receiver is None:
            return f"the agent's user has no role in project {self.project_id}"
        access = self.access
        try:
            transfer_volume(access.cloud, volume.id, self.receiver, access.run, access.leftovers)
        except CloudError as error:
            log.warning("not accepted volume=%s project=%s error=%s", volume.id, self.project_id, error)
            return str(error)
        owner.cloud = self.receiver
        return None


class Places:
    """The places of one run, each found once. Made by `opened_places`, used from any thread."""

    def __init__(self, access: VolumeAccess, enter: Enter, logins: Logins, opened: ExitStack) -> None:
        self._access = access
        self._enter = enter
        self._logins = logins
        self._opened = opened
        self._places: dict[str, Place] = {}
        self._lock = threading.Lock()  # guards the two above

    def own(self) -> Place:
        """That of the login itself."""
        return Place(self._access.cloud.project().id, self._access)

    def find(self, project_id: str) -> Place:
        """AccessForbiddenError when a member has no role there; an administrator's volumes are handed over."""
        own = self.own()
        if project_id == own.project_id:
            return own
        with self._lock:
            if project_id not in self._places:
                self._places[project_id] = self._open(project_id)
            return self._places[project_id]

    def _open(self, project_id: str) -> Place:
        cloud = self._access.cloud
        try:
            return Place(project_id, self._opened.enter_context(self._enter(project_id)))
        except AccessForbiddenError as error:
            login = self._logins.get(project_id)
            if login is None and not cloud.is_admin():
                raise AccessForbiddenError(
                    f"cannot restore to project {project_id}: {error}",
                    hint="There must be such a project, and the user needs a role in it. "
                    f"To restore to the project that is logged in to: --to-project {cloud.project().id}.",
                ) from error
            return Place(project_id, self._access, None if login is None else self._receiver(login, project_id))

    def _receiver(self, login: Callable[[], AbstractContextManager[Cloud]], project_id: str) -> Cloud:
        receiver = self._opened.enter_context(login())
        found = receiver.project().id
        if found != project_id:
            raise UsageError(f"project-cloud for project {project_id} logs in to project {found}")
        return receiver


@contextmanager
def opened_places(access: VolumeAccess, enter: Enter, logins: Logins) -> Iterator[Places]:
    """Logged in to other projects as they are asked for, until the block ends."""
    with ExitStack() as opened:
        yield Places(access, enter, logins, opened)
