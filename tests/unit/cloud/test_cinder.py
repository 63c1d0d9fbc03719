"""What CinderCloud asks of Cinder, in which order, where the contract cannot see it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.cloud.fakesession import FakeSession, Script, refusal, sent

from icebrick.cloud.base import Mode, VolumeSnapshot, VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.connection import ConnectorProperties
from icebrick.errors import UnexpectedStateError
from icebrick.run import HOST_KEY, RUN_KEY, Run

VOLUME = {"id": "v1", "status": "available", "size": 1, "metadata": {}}
SNAPSHOT = {"id": "s1", "status": "available", "volume_id": "v1", "size": 1}
GONE = refusal(404, "gone")
BUSY = refusal(400, "Invalid volume: Volume v1 status must be available, in-use, but current status is: reserved")


def volume(status: str, **more: Any) -> dict[str, Any]:
    return {"volume": {**VOLUME, "status": status, **more}}


def snapshot(status: str) -> dict[str, Any]:
    return {"snapshot": {**SNAPSHOT, "status": status}}


def test_a_new_volume_names_only_what_is_wanted(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script({"POST /volumes": volume("creating"), "GET /volumes/v1": volume("available")})
    cloud.create_volume(VolumeSpec("disk", 1))
    assert session.asked[0].body == {"volume": {"name": "disk", "size": 1, "description": "", "metadata": {}}}


def test_a_clone_names_no_type(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script({"POST /volumes": volume("creating"), "GET /volumes/v1": volume("available")})
    cloud.create_clone(VolumeSnapshot("s1", "", "available", "v0", 3), name="c", metadata={"k": "v"})
    assert session.asked[0].body == {"volume": {"name": "c", "size": 3, "snapshot_id": "s1", "metadata": {"k": "v"}}}


def test_a_volume_that_fails_is_deleted_and_cinders_newest_reason_told(
    cloud: CinderCloud, session: FakeSession
) -> None:
    messages = [
        {"created_at": "2026-11-23T06:00:00", "user_message": "older"},
        {"created_at": "2026-11-23T07:00:00", "user_message": "no room left."},
    ]
    session.handle = Script(
        {
            "POST /volumes": volume("creating"),
            "GET /volumes/v1": [volume("creating"), *[volume("error")] * 4, GONE],
            "GET /messages": {"messages": messages},
            "DELETE /volumes/v1": {},
        }
    )
    with pytest.raises(UnexpectedStateError, match=r"volume v1 \(disk\) went to state error: no room left$"):
        cloud.create_volume(VolumeSpec("disk", 1))
    assert sent(session) == ["POST /volumes", "DELETE /volumes/v1"]


def test_a_failure_without_a_reason_is_told_all_the_same(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script(
        {
            "POST /volumes": volume("creating"),
            "GET /volumes/v1": [*[volume("error")] * 4, GONE],
            "GET /messages": refusal(404, "no messages here"),
            "DELETE /volumes/v1": {},
        }
    )
    with pytest.raises(UnexpectedStateError, match=r"went to state error$"):
        cloud.create_volume(VolumeSpec("disk", 1))


def test_an_interrupt_while_waiting_deletes_what_was_begun(cloud: CinderCloud, session: FakeSession) -> None:
    states = [KeyboardInterrupt(), volume("creating"), volume("available"), GONE]
    session.handle = Script({"POST /volumes": volume("creating"), "GET /volumes/v1": states, "DELETE /volumes/v1": {}})
    with pytest.raises(KeyboardInterrupt):
        cloud.create_volume(VolumeSpec("disk", 1))
    assert sent(session) == ["POST /volumes", "DELETE /volumes/v1"]


def test_the_error_of_a_creation_is_not_hidden_by_that_of_its_deletion(
    cloud: CinderCloud, session: FakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    session.handle = Script(
        {
            "POST /volumes": volume("creating"),
            "GET /volumes/v1": volume("error"),
            "GET /messages": {"messages": []},
            "DELETE /volumes/v1": refusal(403, "not you"),
        }
    )
    with pytest.raises(UnexpectedStateError, match="went to state error"):
        cloud.create_volume(VolumeSpec("disk", 1))
    assert "left behind" in caplog.text


def test_a_snapshot_is_asked_for_when_the_volume_is_at_rest(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script(
        {
            "GET /volumes/v1": [volume("reserved"), volume("attaching"), volume("in-use")],
            "POST /snapshots": snapshot("creating"),
            "GET /snapshots/s1": snapshot("available"),
        }
    )
    cloud.create_snapshot("v1", name="frozen", metadata={})
    assert sent(session) == ["POST /snapshots"]


def test_a_snapshot_is_asked_for_again_when_the_volume_began_to_change(
    cloud: CinderCloud, session: FakeSession
) -> None:
    session.handle = Script(
        {
            "GET /volumes/v1": [volume("available"), volume("reserved"), volume("in-use")],
            "POST /snapshots": [BUSY, snapshot("creating")],
            "GET /snapshots/s1": snapshot("available"),
        }
    )
    assert cloud.create_snapshot("v1", name="frozen", metadata={}).id == "s1"


def test_a_snapshot_of_a_volume_in_a_wrong_state_is_asked_for_once(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script({"GET /volumes/v1": volume("error"), "POST /snapshots": BUSY})
    with pytest.raises(UnexpectedStateError, match="current status is"):
        cloud.create_snapshot("v1", name="frozen", metadata={})
    assert sent(session) == ["POST /snapshots"]


def test_a_reservation_names_the_mode_and_no_connector(cloud: CinderCloud, session: FakeSession) -> None:
    made = {"attachment": {"id": "a1", "volume_id": "v1", "status": "reserved"}}
    session.handle = Script({"POST /attachments": made})
    cloud.create_attachment("v1", Mode.READ)
    assert session.asked[0].body == {"attachment": {"volume_uuid": "v1", "mode": "ro"}}


def test_a_connection_names_the_mode_again(cloud: CinderCloud, session: FakeSession) -> None:
    made = {"id": "a1", "volume_id": "v1", "status": "attaching", "connection_info": {"driver_volume_type": "rbd"}}
    session.handle = Script({"PUT /attachments/a1": {"attachment": made}})
    cloud.connect_attachment("a1", ConnectorProperties({"host": "h"}), Mode.READ)
    assert session.asked[0].body == {"attachment": {"connector": {"host": "h", "mode": "ro"}}}


def test_a_connection_that_cinder_does_not_tell_is_an_error(cloud: CinderCloud, session: FakeSession) -> None:
    made = {"id": "a1", "volume_id": "v1", "status": "attaching", "connection_info": None}
    session.handle = Script({"PUT /attachments/a1": {"attachment": made}})
    with pytest.raises(UnexpectedStateError, match="a1"):
        cloud.connect_attachment("a1", ConnectorProperties({"host": "h"}), Mode.READ)


def test_the_runs_tag_is_taken_off_first(cloud: CinderCloud, session: FakeSession) -> None:
    tagged = volume("available", metadata=Run("r", "h").tags)
    paths = [f"/volumes/v1/metadata/{key}" for key in (RUN_KEY, HOST_KEY)]
    session.handle = Script({"GET /volumes/v1": tagged, **{f"DELETE {path}": {} for path in paths}})
    cloud.untag_volume("v1")
    assert sent(session) == [f"DELETE {path}" for path in paths]


@pytest.mark.parametrize("state", ["deleting", "creating"])
def test_a_deletion_waits_for_what_is_under_way(cloud: CinderCloud, session: FakeSession, state: str) -> None:
    session.handle = Script({"GET /volumes/v1": [volume(state), volume(state), GONE]})
    cloud.delete_volume("v1")
    assert sent(session) == []


def test_a_failed_deletion_is_not_asked_for_again(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script({"GET /snapshots/s1": snapshot("error_deleting")})
    with pytest.raises(UnexpectedStateError, match="error_deleting"):
        cloud.delete_snapshot("s1")
    assert sent(session) == []
