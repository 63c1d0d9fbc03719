"""What CinderGroups asks of Cinder, in which order, where the contract cannot see it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.cloud.fakesession import FakeSession, Script, answer, refusal, sent

from icebrick.cloud.base import GroupSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.errors import UnexpectedStateError

GONE = refusal(404, "gone")
SPEC = GroupSpec("pair", "consistent", ("fast",))
TYPES = {
    "GET /group_types": [{"group_types": [{"id": "gt1", "name": "consistent"}]}, {"group_types": []}],
    "GET /types": [{"volume_types": [{"id": "vt1", "name": "fast"}]}, {"volume_types": []}],
}


def group(status: str, *members: str, **more: Any) -> dict[str, Any]:
    told = {"id": "g1", "name": "pair", "group_type": "gt1", "volume_types": ["vt1", "vt2"], "volumes": list(members)}
    return {"group": {**told, "status": status, **more}}


def group_snapshot(status: str) -> dict[str, Any]:
    return {"group_snapshot": {"id": "gs1", "status": status, "group_id": "g1"}}


def member_snapshot(status: str) -> dict[str, Any]:
    told = {"id": "s1", "volume_id": "v1", "size": 1, "group_snapshot_id": "gs1"}
    return {"snapshots": [{**told, "status": status}]}


NOTHING: dict[str, Any] = {"snapshots": []}


def test_types_go_by_their_names_and_hidden_ones_by_their_ids(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script({"GET /groups/g1": group("available", "v2", "v1"), **TYPES})
    told = cloud.get_group("g1")
    assert (told.group_type, told.volume_types, told.volume_ids) == ("consistent", ("fast", "vt2"), ("v1", "v2"))
    assert (told.project_id, told.consistent) == ("p1", None)


def test_a_group_that_fails_is_deleted(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script(
        {
            "POST /groups": group("creating"),
            "GET /groups/g1": [group("creating"), *[group("error")] * 3, GONE],
            "GET /messages": {"messages": []},
            "POST /groups/g1/action": answer(202),
        }
    )
    with pytest.raises(UnexpectedStateError, match=r"group g1 \(pair\) went to state error"):
        cloud.create_group(SPEC)
    assert sent(session) == ["POST /groups", "POST /groups/g1/action"]


def test_a_deletion_never_takes_volumes_along(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script(
        {"GET /groups/g1": [group("available"), group("deleting"), GONE], "POST /groups/g1/action": answer(202)}
    )
    cloud.delete_group("g1")
    assert [asked.body for asked in session.asked if asked.method == "POST"] == [{"delete": {"delete-volumes": False}}]


def test_what_is_so_already_is_not_sent(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script({"GET /groups/g1": group("available", "v1", description="d"), **TYPES})
    cloud.update_group("g1", name="pair", description="d")
    cloud.add_to_group("g1", "v1")
    assert sent(session) == []


def test_a_group_is_changed_when_an_earlier_change_has_ended(cloud: CinderCloud, session: FakeSession) -> None:
    states = [group("updating"), group("updating"), group("available"), group("updating"), group("available", "v1")]
    session.handle = Script({"GET /groups/g1": states, "PUT /groups/g1": answer(202)})
    cloud.add_to_group("g1", "v1")
    assert [asked.method for asked in session.asked] == ["GET", "GET", "GET", "PUT", "GET", "GET", "GET"]


def test_a_volume_that_the_back_end_did_not_take_is_told(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script({"GET /groups/g1": group("available"), "PUT /groups/g1": answer(202)})
    with pytest.raises(UnexpectedStateError, match="cannot add volume v1 to group g1"):
        cloud.add_to_group("g1", "v1")


def test_a_group_snapshot_is_gone_when_its_snapshots_are(cloud: CinderCloud, session: FakeSession) -> None:
    session.handle = Script(
        {
            "GET /group_snapshots/gs1": [
                group_snapshot("available"),
                group_snapshot("deleting"),
                group_snapshot("deleted"),
                GONE,
            ],
            # Two pages a look, of which the second is empty; none where nothing is left.
            "GET /snapshots/detail": [*[member_snapshot("deleting"), NOTHING] * 3, NOTHING],
            "DELETE /group_snapshots/gs1": answer(202),
        }
    )
    cloud.delete_group_snapshot("gs1")
    assert [asked.path for asked in session.asked].count("/group_snapshots/gs1") == 6
    assert [asked.path for asked in session.asked].count("/snapshots/detail") == 7


def test_force_leaves_a_group_with_members_as_it_is(admin: CinderCloud, session: FakeSession) -> None:
    session.handle = Script(
        {"GET /groups/g1": group("creating", "v1"), "GET /group_snapshots/detail": {"group_snapshots": []}}
    )
    with pytest.raises(UnexpectedStateError, match="cannot delete group g1"):
        admin.force_delete_group("g1")
    assert sent(session) == []


def test_force_resets_a_group_snapshot_before_it_is_deleted(admin: CinderCloud, session: FakeSession) -> None:
    session.handle = Script(
        {
            "GET /group_snapshots/gs1": [group_snapshot("creating"), GONE],
            "GET /snapshots/detail": NOTHING,
            "POST /group_snapshots/gs1/action": answer(202),
            "DELETE /group_snapshots/gs1": answer(202),
        }
    )
    admin.force_delete_group_snapshot("gs1")
    assert sent(session) == ["POST /group_snapshots/gs1/action", "DELETE /group_snapshots/gs1"]
