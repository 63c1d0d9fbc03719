"""Taking volumes away from their servers for a moment, and giving them back whatever happens.

What is to be given back is noted in the cloud, on the volume itself, before it is taken away: whoever finds the
note after its run has died, on whatever host, can put the volume back. A note is metadata of the volume,

    icebrick-cold-<run id>-<server id>    JSON: host and since of the run; device, tag, delete_on_termination

one for each server. It does not mark the volume as anybody's to remove.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from icebrick.cloud.base import Cloud, Volume
from icebrick.cloud.servers import ServerAttachment, Servers
from icebrick.document import Fields
from icebrick.errors import CloudError, CorruptDataError, ResourceMissingError, UnexpectedStateError
from icebrick.run import COLD_PREFIX, Run

_LOG = logging.getLogger(__name__)

PATIENCE = timedelta(hours=1)
"""For how long a run may keep a volume from its servers. After that any run gives it back, and this one fails."""

_KEY = re.compile(re.escape(COLD_PREFIX) + r"(?P<run>.+)-(?P<server>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class ColdNote:
    """That a run took a volume from a server, and how it is to be given back."""

    run: Run
    since: datetime
    attachment: ServerAttachment

    @property
    def key(self) -> str:
        return f"{COLD_PREFIX}{self.run.id}-{self.attachment.server_id}"

    @property
    def value(self) -> str:
        attachment = self.attachment
        fields = {
            "host": self.run.host,
            "since": self.since.isoformat(timespec="seconds"),
            "device": attachment.device,
            "tag": attachment.tag,
            "delete_on_termination": attachment.delete_on_termination,
        }
        return json.dumps(fields, separators=(",", ":"))

    def __str__(self) -> str:
        return f"volume {self.attachment.volume_id} to server {self.attachment.server_id}"

    @property
    def hint(self) -> str:
        """How to put the volume back by hand."""
        attachment = self.attachment
        options = [
            *(["--device", attachment.device] if attachment.device else []),
            *(["--tag", attachment.tag] if attachment.tag else []),
            *(["--enable-delete-on-termination"] if attachment.delete_on_termination else []),
        ]
        command = ["openstack", "server", "add", "volume", *options, attachment.server_id, attachment.volume_id]
        return f"The next run tries again, and so does 'icebrick cleanup'. By hand: {shlex.join(command)}"


@contextmanager
def detached(cloud: Cloud, volume_ids: Iterable[str], run: Run, away: list[str]) -> Iterator[None]:
    """The volumes are attached to nothing inside the block, and to their servers again after it, however it ends.

    UnexpectedStateError when a server keeps one, with all as before; or when one was attached to something inside the
    block. A volume that cannot be given back is told in `away`, and stays noted.
    """
    with ExitStack() as stack:
        volume_ids = list(volume_ids)
        for volume_id in volume_ids:
            stack.enter_context(_detached(cloud, volume_id, run, away))
        yield
        for volume_id in volume_ids:
            if cloud.attachments(volume_id):
                raise UnexpectedStateError(f"volume {volume_id} was attached again before it was read cold")


@contextmanager
def _detached(cloud: Cloud, volume_id: str, run: Run, away: list[str]) -> Iterator[None]:
    _refuse_noted(cloud.get_volume(volume_id))
    if any(attachment.server_id is None for attachment in cloud.attachments(volume_id)):
        raise UnexpectedStateError(
            f"volume {volume_id} is attached to something that is no server",
            hint="Detach it there. Without --cold it is backed up while it is attached.",
        )
    servers = cloud.servers()
    since = datetime.now(UTC)
    notes = [ColdNote(run, since, attachment) for attachment in servers.attachments(volume_id)]
    asked: list[ColdNote] = []
    cloud.add_notes(volume_id, {note.key: note.value for note in notes})
    try:
        # Of two runs that note at once, each sees the other's note here, and none goes on.
        _refuse_noted(cloud.get_volume(volume_id), but_by=run)
        for note in notes:
            asked.append(note)  # first: what fails may have had its effect
            servers.detach(note.attachment.server_id, volume_id)
        _LOG.info("detached run=%s volume=%s servers=%d", run.id, volume_id, len(notes))
        yield
    finally:
        for note in notes:
            _end(cloud, servers, note, away, taken=note in asked)


def _end(cloud: Cloud, servers: Servers, note: ColdNote, away: list[str], *, taken: bool) -> None:
    try:
        if taken:
            give_back(cloud, servers, note)
        else:
            cloud.remove_notes(note.attachment.volume_id, [note.key])
    except CloudError as error:
        _LOG.error("cannot attach %s again error=%s", note, error)
        away.append(f"cannot attach {note} again: {error}. {note.hint}")


def give_back(cloud: Cloud, servers: Servers, note: ColdNote) -> None:
    """Attach what the note says, unless it is; then take the note off. CloudError: the note stays."""
    try:
        servers.attach(note.attachment)
        _LOG.info("attached %s again", note)
    except ResourceMissingError as error:
        _LOG.warning("cannot attach %s again, one of them is gone error=%s", note, error)
    cloud.remove_notes(note.attachment.volume_id, [note.key])


def find_detached(
    volumes: Iterable[Volume], is_alive: Callable[[str, str], bool], now: datetime
) -> tuple[ColdNote, ...]:
    """The notes on these volumes whose runs are dead, or have had them for too long."""
    notes = [note for volume in volumes for note in _notes_of(volume)]
    return tuple(note for note in notes if now - note.since > PATIENCE or not is_alive(note.run.id, note.run.host))


def _refuse_noted(volume: Volume, *, but_by: Run | None = None) -> None:
    for key in volume.notes:
        if but_by is not None and key.startswith(f"{COLD_PREFIX}{but_by.id}-"):
            continue
        match = _KEY.fullmatch(key)
        if match is None:
            hint = f"No run of icebrick wrote that: remove the metadata key '{key}' from the volume."
            raise UnexpectedStateError(f"volume {volume.id} has a note that cannot be read", hint=hint)
        raise UnexpectedStateError(
            f"volume {volume.id} is kept from its servers by run {match['run']}",
            hint=f"If that run has ended, 'icebrick cleanup --run {match['run']}' gives the volume back.",
        )


def _notes_of(volume: Volume) -> Iterator[ColdNote]:
    for key, value in volume.notes.items():
        try:
            yield _note_from(volume.id, key, value)
        except CorruptDataError as error:
            _LOG.warning("passed over: %s", error)


def _note_from(volume_id: str, key: str, value: str) -> ColdNote:
    """CorruptDataError for what is not as we write it: any member of the project may write there."""
    where = f"note {key} of volume {volume_id}"
    match = _KEY.fullmatch(key)
    if match is None:
        raise CorruptDataError(f"{where}: the key says no server")
    fields = _open(value, where)
    since = fields.time("since")
    if since.tzinfo is None:
        fields.fail("since", "a time with its zone")
    attachment = ServerAttachment(
        server_id=match["server"],
        volume_id=volume_id,
        device=fields.optional_text("device"),
        tag=fields.optional_text("tag"),
        delete_on_termination=fields.flag("delete_on_termination"),
    )
    return ColdNote(Run(match["run"], fields.text("host")), since, attachment)


def _open(value: str, where: str) -> Fields:
    try:
        values = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{where} is not JSON") from error
    if not isinstance(values, dict):
        raise CorruptDataError(f"{where} is not a JSON object")
    return Fields(values, where)
