"""What Nova is asked, and what becomes of its refusals, its failures and its silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.cloud.fakesession import Asked, FakeClock, FakeResponse, FakeSession, answer, refusal

from icebrick.cloud.api import RestApi
from icebrick.cloud.base import VolumeSpec
from icebrick.cloud.nova import NovaServers
from icebrick.cloud.servers import ServerAttachment
from icebrick.cloud.wait import Pace
from icebrick.errors import UnexpectedStateError
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeservers import start_server

Trouble = Callable[[], FakeResponse]


class FakeNova:
    """Nova's answers about the servers of the fake cloud. `trouble` is met first, one a request of its method."""

    def __init__(self, cloud: FakeCloud) -> None:
        self.cloud = cloud
        self.trouble: dict[str, list[Trouble]] = {}

    def __call__(self, asked: Asked) -> FakeResponse:
        if self.trouble.get(asked.method):
            return self.trouble[asked.method].pop(0)()
        _, _, server_id, *rest = asked.path.split("/")
        if not rest:
            return answer(body={"server": {"status": "ACTIVE", "tenant_id": self.cloud.project().id}})
        if asked.method == "POST":
            return self.attach(server_id, asked.body["volumeAttachment"])
        if asked.method == "DELETE":
            self.cloud.servers().detach(server_id, rest[1])
            return answer(202)
        disk = self.cloud.records.servers[server_id].disks.get(rest[1])
        told = {"serverId": server_id, "volumeId": rest[1], "device": disk and disk.device}  # as by version 2.1
        return answer(body={"volumeAttachment": told}) if disk else refusal(404, "not attached")

    def attach(self, server_id: str, wanted: dict[str, Any]) -> FakeResponse:
        self.cloud.servers().attach(ServerAttachment(server_id, wanted["volumeId"], wanted.get("device")))
        return answer(body={"volumeAttachment": {}})


@pytest.fixture
def nova() -> FakeNova:
    return FakeNova(FakeCloud())


@pytest.fixture
def session(nova: FakeNova) -> FakeSession:
    return FakeSession(handle=nova)


@pytest.fixture
def servers(nova: FakeNova, session: FakeSession) -> NovaServers:
    waiter = FakeClock().waiter(Pace(settle=30))
    return NovaServers(RestApi(session, "2.1", waiter), nova.cloud, waiter)


@pytest.fixture
def wanted(nova: FakeNova) -> ServerAttachment:
    root, data = (nova.cloud.create_volume(VolumeSpec(name, 1)) for name in ("root", "data"))
    return ServerAttachment(start_server(nova.cloud.records, root.id).id, data.id, "/dev/vdf")


def posts(session: FakeSession) -> list[Any]:
    return [asked.body["volumeAttachment"] for asked in session.asked if asked.method == "POST"]


def test_what_an_old_nova_does_not_tell_is_absent(servers: NovaServers, wanted: ServerAttachment) -> None:
    assert servers.attach(wanted) == wanted
    assert list(servers.attachments(wanted.volume_id)) == [wanted]


def test_only_what_is_wanted_is_asked_for(servers: NovaServers, session: FakeSession, wanted: ServerAttachment) -> None:
    servers.attach(wanted)
    servers.detach(wanted.server_id, wanted.volume_id)
    plain = ServerAttachment(wanted.server_id, wanted.volume_id, tag="logs", delete_on_termination=True)
    servers.attach(plain)
    first, second = posts(session)
    assert first == {"volumeId": wanted.volume_id, "device": "/dev/vdf"}
    assert second == {"volumeId": wanted.volume_id, "tag": "logs", "delete_on_termination": True}


def test_a_refused_name_of_a_device_is_given_up(
    nova: FakeNova, servers: NovaServers, session: FakeSession, wanted: ServerAttachment
) -> None:
    nova.trouble["POST"] = [lambda: refusal(409, "The supplied device path (/dev/vdf) is in use.")]
    servers.attach(wanted)
    assert [post.get("device") for post in posts(session)] == ["/dev/vdf", None]


def test_a_request_whose_answer_was_lost_is_not_sent_again_when_it_had_its_effect(
    nova: FakeNova, servers: NovaServers, session: FakeSession, wanted: ServerAttachment
) -> None:
    def lost() -> FakeResponse:
        nova.attach(wanted.server_id, {"volumeId": wanted.volume_id, "device": wanted.device})
        return answer(504)

    nova.trouble["POST"] = [lost]
    assert servers.attach(wanted) == wanted
    assert len(posts(session)) == 1


def test_a_request_whose_answer_was_lost_is_sent_again_when_it_had_none(
    nova: FakeNova, servers: NovaServers, session: FakeSession, wanted: ServerAttachment
) -> None:
    nova.trouble["POST"] = [lambda: answer(504)]
    assert servers.attach(wanted) == wanted
    assert len(posts(session)) == 2


def test_an_attachment_that_comes_to_nothing_is_told(
    nova: FakeNova, servers: NovaServers, wanted: ServerAttachment
) -> None:
    nova.trouble["POST"] = [lambda: answer(200, {})]
    with pytest.raises(UnexpectedStateError, match="Nova gave up"):
        servers.attach(wanted)


def test_a_server_that_does_not_let_go_is_told_with_what_may_help(
    nova: FakeNova, servers: NovaServers, wanted: ServerAttachment
) -> None:
    servers.attach(wanted)
    nova.trouble["DELETE"] = [lambda: answer(202)]
    with pytest.raises(UnexpectedStateError, match="does not let go") as refused:
        servers.detach(wanted.server_id, wanted.volume_id)
    assert "unmount it there" in str(refused.value.hint)


@pytest.mark.parametrize(
    "given", [refusal(400, "Cannot detach a root device volume"), refusal(409, "Instance s is locked")]
)
def test_a_refusal_to_detach_says_what_can_be_done_instead(
    nova: FakeNova, servers: NovaServers, wanted: ServerAttachment, given: FakeResponse
) -> None:
    servers.attach(wanted)
    nova.trouble["DELETE"] = [lambda: given]
    with pytest.raises(UnexpectedStateError) as refused:
        servers.detach(wanted.server_id, wanted.volume_id)
    assert "Without --cold" in str(refused.value.hint)


def test_a_volume_on_its_way_is_waited_for(nova: FakeNova, servers: NovaServers, wanted: ServerAttachment) -> None:
    servers.attach(wanted)
    nova.cloud.set_status(wanted.volume_id, "detaching")

    def arrived() -> FakeResponse:
        nova.cloud.set_status(wanted.volume_id, "in-use")
        return answer(200, {"volumeAttachment": {"serverId": wanted.server_id, "volumeId": wanted.volume_id}})

    nova.trouble["GET"] = [arrived]
    assert servers.attach(wanted) == wanted


def test_a_volume_that_never_arrives_is_told(nova: FakeNova, servers: NovaServers, wanted: ServerAttachment) -> None:
    servers.attach(wanted)
    nova.cloud.set_status(wanted.volume_id, "detaching")
    with pytest.raises(UnexpectedStateError, match="still changing after 30 s"):
        servers.attach(wanted)
