"""Volumes are taken from their servers for a moment, and come back whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from icebrick.cloud.base import Mode, VolumeSpec
from icebrick.cloud.cold import PATIENCE, ColdNote, detached, find_detached
from icebrick.cloud.leftovers import Leftovers, Removal, find_leftovers, remove_leftovers
from icebrick.cloud.servers import ServerAttachment
from icebrick.cloud.temporary import temporary_snapshot
from icebrick.errors import CloudUnavailableError, UnexpectedStateError
from icebrick.run import COLD_PREFIX, Run
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeFormerHost
from icebrick.testing.fakerecords import BETA, SERVICE
from icebrick.testing.fakeservers import start_server
from icebrick.testing.faultplan import FaultPlan

RUN = Run("20261123T061500Z-1f2e3d4c", "host1")
OTHER = Run("20261123T070000Z-0badcafe", "host2")
OUTAGE = CloudUnavailableError("no answer")


class BodyError(Exception):
    """What goes wrong inside a block."""


class Killed(BaseException):
    """Nothing that is done after it has an effect."""


class DyingPlan(FaultPlan):
    """At call number `fatal`, from 0, everything ends: no later one reaches the cloud."""

    def __init__(self, fatal: int, *, after: bool) -> None:
        super().__init__()
        self.fatal = fatal
        self._after = after

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        self.calls.append(call)
        number = len(self.calls) - 1
        if number > self.fatal or (number == self.fatal and not self._after):
            raise Killed
        yield
        if number == self.fatal:
            raise Killed


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def server(cloud: FakeCloud) -> str:
    return start_server(cloud.records, cloud.create_volume(VolumeSpec("root", 1)).id).id


@pytest.fixture
def held(cloud: FakeCloud, server: str) -> ServerAttachment:
    """A volume of the server, with everything that can be told of it."""
    volume = cloud.create_volume(VolumeSpec("data", 1, metadata={"k": "v"}))
    return cloud.servers().attach(ServerAttachment(server, volume.id, "/dev/vdf", "logs", delete_on_termination=True))


def is_as_before(cloud: FakeCloud, held: ServerAttachment) -> bool:
    volume = cloud.get_volume(held.volume_id)
    return (
        list(cloud.servers().attachments(held.volume_id)) == [held]
        and volume.status == "in-use"
        and not volume.notes
        and volume.metadata == {"k": "v"}
    )


def nobody_lives(run_id: str, host: str) -> bool:
    return False


def all_live(run_id: str, host: str) -> bool:
    return True


def clean_up(cloud: FakeCloud) -> Removal:
    return remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, nobody_lives))


def test_inside_the_block_the_volume_is_attached_to_nothing_and_after_it_as_before(
    cloud: FakeCloud, held: ServerAttachment
) -> None:
    leftovers: list[str] = []
    with detached(cloud, [held.volume_id], RUN, leftovers):
        assert list(cloud.attachments(held.volume_id)) == []
        assert cloud.get_volume(held.volume_id).status == "available"
    assert is_as_before(cloud, held)
    assert leftovers == []


def test_what_is_to_be_attached_again_is_noted_before_it_is_detached(cloud: FakeCloud, held: ServerAttachment) -> None:
    with detached(cloud, [held.volume_id], RUN, []):
        (note,) = find_detached(cloud.volumes(), nobody_lives, datetime.now(UTC))
    assert (note.run, note.attachment) == (RUN, held)
    assert cloud.faults.calls.index("add_notes") < cloud.faults.calls.index("detach_server")


def test_a_note_marks_the_volume_as_nobodys_to_remove(cloud: FakeCloud, held: ServerAttachment) -> None:
    with detached(cloud, [held.volume_id], RUN, []):
        found = find_leftovers(cloud, nobody_lives)
    assert (found.volumes, len(found.detached), found.runs) == ((), 1, (RUN.id,))


def test_a_note_fits_into_metadata_however_long_its_words_are() -> None:
    run = Run(RUN.id, "h" * 64)
    attachment = ServerAttachment("f" * 36, "v", "/dev/xvdaa", "t" * 60, delete_on_termination=True)
    note = ColdNote(run, datetime.now(UTC), attachment)
    assert len(note.key) <= 255
    assert len(note.value) <= 255


def test_a_volume_of_no_server_is_read_as_it_is(cloud: FakeCloud) -> None:
    volume = cloud.create_volume(VolumeSpec("data", 1))
    with detached(cloud, [volume.id], RUN, []):
        assert cloud.get_volume(volume.id).status == "available"
    assert not cloud.get_volume(volume.id).notes


@pytest.mark.parametrize("error", [BodyError(), KeyboardInterrupt()])
def test_the_volume_comes_back_when_the_block_fails(
    cloud: FakeCloud, held: ServerAttachment, error: BaseException
) -> None:
    with pytest.raises(type(error)), detached(cloud, [held.volume_id], RUN, []):
        raise error
    assert is_as_before(cloud, held)


@pytest.mark.parametrize("after", [False, True])
def test_the_volume_comes_back_when_detaching_is_not_answered(
    cloud: FakeCloud, held: ServerAttachment, after: bool
) -> None:
    cloud.faults.fail("detach_server", OUTAGE, after=after)
    with pytest.raises(CloudUnavailableError), detached(cloud, [held.volume_id], RUN, []):
        pytest.fail("the volume may be attached")
    assert is_as_before(cloud, held)


def test_a_root_volume_is_refused_and_nothing_is_changed(cloud: FakeCloud, server: str) -> None:
    root = cloud.records.servers[server].root
    with pytest.raises(UnexpectedStateError, match="root"), detached(cloud, [root], RUN, []):
        pytest.fail("the volume is attached")
    assert not cloud.get_volume(root).notes
    assert [one.server_id for one in cloud.attachments(root)] == [server]


def test_of_several_volumes_all_come_back_when_one_is_refused(
    cloud: FakeCloud, server: str, held: ServerAttachment
) -> None:
    root = cloud.records.servers[server].root
    with pytest.raises(UnexpectedStateError), detached(cloud, [held.volume_id, root], RUN, []):
        pytest.fail("one volume is attached")
    assert is_as_before(cloud, held)


def test_a_volume_of_several_servers_is_taken_from_all(cloud: FakeCloud, held: ServerAttachment) -> None:
    second = start_server(cloud.records, cloud.create_volume(VolumeSpec("root", 1)).id)
    cloud.records.change_volume(held.volume_id, multiattach=True)
    also = cloud.servers().attach(ServerAttachment(second.id, held.volume_id))
    with detached(cloud, [held.volume_id], RUN, []):
        assert list(cloud.attachments(held.volume_id)) == []
    assert set(cloud.servers().attachments(held.volume_id)) == {held, also}


def test_a_volume_that_something_else_uses_is_refused(cloud: FakeCloud) -> None:
    volume = cloud.create_volume(VolumeSpec("data", 1))
    cloud.create_attachment(volume.id, Mode.WRITE)
    with pytest.raises(UnexpectedStateError, match="no server"), detached(cloud, [volume.id], RUN, []):
        pytest.fail("the volume is attached")


def test_a_volume_that_is_attached_inside_the_block_is_no_cold_one(cloud: FakeCloud, held: ServerAttachment) -> None:
    with (
        pytest.raises(UnexpectedStateError, match="attached again before"),
        detached(cloud, [held.volume_id], RUN, []),
    ):
        cloud.servers().attach(held)
    assert is_as_before(cloud, held)


def test_a_volume_that_another_run_has_taken_is_refused_and_left_to_it(
    cloud: FakeCloud, held: ServerAttachment
) -> None:
    with detached(cloud, [held.volume_id], OTHER, []):
        with pytest.raises(UnexpectedStateError, match=OTHER.id), detached(cloud, [held.volume_id], RUN, []):
            pytest.fail("it is the other run's")
        assert list(cloud.attachments(held.volume_id)) == []
    assert is_as_before(cloud, held)


def test_of_two_runs_that_note_at_once_none_goes_on(cloud: FakeCloud, held: ServerAttachment) -> None:
    class Racing(FakeCloud):
        def add_notes(self, volume_id: str, notes: object) -> None:
            super().add_notes(volume_id, {ColdNote(OTHER, datetime.now(UTC), held).key: "{}"})
            super().add_notes(volume_id, notes)  # type: ignore[arg-type]

    racing = Racing(cloud.records)
    with pytest.raises(UnexpectedStateError, match=OTHER.id), detached(racing, [held.volume_id], RUN, []):
        pytest.fail("it may be the other run's")
    assert "detach_server" not in racing.faults.calls
    assert [key for key in cloud.get_volume(held.volume_id).notes if RUN.id in key] == []


def test_a_volume_that_cannot_be_attached_again_is_told_with_the_command_to_do_so_and_stays_noted(
    cloud: FakeCloud, held: ServerAttachment
) -> None:
    leftovers: list[str] = []
    with detached(cloud, [held.volume_id], RUN, leftovers):
        cloud.faults.fail("attach_server", OUTAGE)
    (told,) = leftovers
    assert "no answer" in told
    command = f"--device /dev/vdf --tag logs --enable-delete-on-termination {held.server_id} {held.volume_id}"
    assert f"openstack server add volume {command}" in told
    assert clean_up(cloud).given_back == (f"volume {held.volume_id} to server {held.server_id}",)
    assert is_as_before(cloud, held)


def test_a_server_that_is_gone_takes_nothing_and_leaves_no_note(cloud: FakeCloud, held: ServerAttachment) -> None:
    leftovers: list[str] = []
    with detached(cloud, [held.volume_id], RUN, leftovers):
        del cloud.records.servers[held.server_id]
    assert leftovers == []
    volume = cloud.get_volume(held.volume_id)
    assert (volume.status, volume.notes) == ("available", {})


def test_a_living_runs_volume_is_left_to_it_for_a_while(cloud: FakeCloud, held: ServerAttachment) -> None:
    with detached(cloud, [held.volume_id], RUN, []):
        now = datetime.now(UTC)
        assert find_detached(cloud.volumes(), all_live, now) == ()
        assert len(find_detached(cloud.volumes(), all_live, now + PATIENCE + timedelta(minutes=1))) == 1


@pytest.mark.parametrize(
    "key", [f"{COLD_PREFIX}{RUN.id}-00000000-0000-4000-8000-000000000000", f"{COLD_PREFIX}x", COLD_PREFIX]
)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "{}",
        "[]",
        "[" * 250,
        '{"host": "h", "since": "2026-01-01", "delete_on_termination": true}',
        '{"host": 7, "since": "2026-01-01T00:00:00+00:00", "delete_on_termination": true}',
    ],
)
def test_what_somebody_else_wrote_as_a_note_is_passed_over(cloud: FakeCloud, key: str, value: str) -> None:
    volume = cloud.create_volume(VolumeSpec("data", 1))
    cloud.add_notes(volume.id, {key: value})
    assert find_leftovers(cloud, nobody_lives) == Leftovers()
    with pytest.raises(UnexpectedStateError, match=volume.id), detached(cloud, [volume.id], RUN, []):
        pytest.fail("who knows what it means")


def test_a_forged_note_brings_no_volume_to_another_projects_server(cloud: FakeCloud, server: str) -> None:
    mallory = FakeCloud(cloud.records, BETA)
    volume = mallory.create_volume(VolumeSpec("trojan", 1))
    note = ColdNote(OTHER, datetime(2026, 1, 1, tzinfo=UTC), ServerAttachment(server, volume.id))
    mallory.add_notes(volume.id, {note.key: note.value})
    removal = clean_up(FakeCloud(cloud.records, SERVICE, admin=True))
    assert "different projects" in removal.kept[0].reason
    assert list(cloud.servers().attachments(volume.id)) == []


def test_the_command_of_a_forged_note_is_one_command(cloud: FakeCloud) -> None:
    forged = ServerAttachment("s", "v", "/dev/vdb; reboot")
    assert "--device '/dev/vdb; reboot' s v" in ColdNote(OTHER, datetime.now(UTC), forged).hint


def test_an_administrator_gives_back_another_projects_volume(cloud: FakeCloud, held: ServerAttachment) -> None:
    admin = FakeCloud(cloud.records, SERVICE, admin=True)
    with pytest.raises(Killed), detached(admin, [held.volume_id], RUN, []):
        admin.faults.fail("attach_server", Killed())
    assert not is_as_before(cloud, held)
    clean_up(admin)
    assert is_as_before(cloud, held)


def snapshot_cold(cloud: FakeCloud, volume_id: str) -> None:
    """As a backup does it: the volume is given back as soon as its snapshot is there."""
    with ExitStack() as made:
        with detached(cloud, [volume_id], RUN, []):
            made.enter_context(temporary_snapshot(cloud, volume_id, RUN, []))
        assert cloud.attachments(volume_id)


def deaths(work: Callable[[FakeCloud], object], cloud: FakeCloud) -> Iterator[DyingPlan]:
    """One plan for each moment at which `work`, tried on a copy of the cloud, can be killed."""
    rehearsal = copied(cloud)
    work(rehearsal)
    for call in range(len(rehearsal.faults.calls)):
        yield from (DyingPlan(call, after=after) for after in (False, True))


def test_killed_at_any_call_even_while_cleaning_up_the_next_run_makes_all_as_before(
    cloud: FakeCloud, held: ServerAttachment
) -> None:
    kills = 0
    for first in deaths(lambda it: snapshot_cold(it, held.volume_id), cloud):
        left = killed(cloud, first, lambda it: snapshot_cold(it, held.volume_id))
        for second in deaths(clean_up, left):
            kills += 1
            after = FakeCloud(killed(left, second, clean_up).records)
            assert clean_up(after).kept == ()
            assert is_as_before(after, held), (first.fatal, second.fatal)
            assert list(after.snapshots()) == []
    assert kills > 100


def killed(cloud: FakeCloud, plan: DyingPlan, work: Callable[[FakeCloud], object]) -> FakeCloud:
    """The cloud as it is left."""
    dying = copied(cloud)
    dying.faults = plan
    with pytest.raises(Killed):
        work(dying)
    return FakeCloud(dying.records)


def copied(cloud: FakeCloud) -> FakeCloud:
    records = cloud.records
    return FakeCloud(
        replace(
            records,
            volumes=dict(records.volumes),
            snapshots=dict(records.snapshots),
            content=dict(records.content),
            attachments=dict(records.attachments),
            modes=dict(records.modes),
            servers={key: replace(server, disks=dict(server.disks)) for key, server in records.servers.items()},
            lock=threading.RLock(),
        )
    )
