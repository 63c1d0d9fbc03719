"""Cinder's REST API: what is sent, what is sent again, and listings while others delete."""

from __future__ import annotations

import keystoneauth1.exceptions as auth_errors
import pytest
from tests.unit.cloud.fakesession import Asked, FakeClock, FakeResponse, FakeSession, answer, refusal

from icebrick.cloud.api import RestApi
from icebrick.errors import CloudError, CloudUnavailableError, ResourceMissingError

DOING = "do it to volume 1f2e"


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def api(session: FakeSession) -> RestApi:
    return RestApi(session, "3.60", FakeClock().waiter())


class Collection:
    """Volumes that are listed two at a time; `before_page` may change them between pages."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self.pages = 0

    def before_page(self) -> None:
        """Nothing happens, unless a test says so."""

    def __call__(self, asked: Asked) -> FakeResponse:
        self.pages += 1
        self.before_page()
        marker = asked.params.get("marker")
        if marker is not None and marker not in self.ids:
            return refusal(404, f"Volume {marker} could not be found")
        start = 0 if marker is None else self.ids.index(marker) + 1
        return answer(200, {"volumes": [{"id": name} for name in self.ids[start : start + 2]]})


def listed(api: RestApi) -> list[str]:
    return [item["id"] for item in api.list_all("/volumes/detail", "volumes", "list volumes")]


def test_a_request_carries_the_microversion_and_the_body(api: RestApi, session: FakeSession) -> None:
    session.answers = [answer(202, {"volume": {"id": "1"}})]
    assert api.post("/volumes", {"volume": {"size": 1}}, DOING) == {"volume": {"id": "1"}}
    assert session.asked == [Asked("POST", "/volumes", {"volume": {"size": 1}}, {}, "3.60")]


def test_an_answer_without_a_body_is_empty(api: RestApi, session: FakeSession) -> None:
    session.answers = [answer(202)]
    assert api.post("/volumes/1/action", {}, DOING) == {}


def test_a_refusal_is_an_error_with_its_reason(api: RestApi, session: FakeSession) -> None:
    session.answers = [refusal(400, "size must be positive")]
    with pytest.raises(CloudError, match=r"cannot do it to volume 1f2e: size must be positive \(HTTP 400\)"):
        api.post("/volumes", {}, DOING)


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"[1, 2]"])
def test_an_answer_that_is_no_json_object_is_an_error(api: RestApi, session: FakeSession, content: bytes) -> None:
    session.answers = [FakeResponse(200, content)]
    with pytest.raises(CloudError, match="not a JSON object"):
        api.get("/volumes/1", DOING)


def test_a_proxys_error_page_is_an_unavailable_cloud(api: RestApi, session: FakeSession) -> None:
    session.answers = [FakeResponse(502, b"<html>Bad Gateway</html>")] * 5
    with pytest.raises(CloudUnavailableError, match="HTTP 502"):
        api.get("/volumes/1", DOING)


@pytest.mark.parametrize("failure", [answer(503), answer(429), auth_errors.ConnectFailure("refused")])
def test_reading_is_tried_again(api: RestApi, session: FakeSession, failure: FakeResponse | Exception) -> None:
    session.answers = [failure, answer(200, {"volume": {}})]
    assert api.get("/volumes/1", DOING) == {"volume": {}}


@pytest.mark.parametrize("failure", [answer(503), auth_errors.ConnectFailure("reset")])
def test_a_creation_whose_answer_was_lost_is_not_tried_again(
    api: RestApi, session: FakeSession, failure: FakeResponse | Exception
) -> None:
    session.answers = [failure]
    with pytest.raises(CloudUnavailableError):
        api.post("/volumes", {}, DOING)


def test_a_creation_that_was_turned_away_is_tried_again(api: RestApi, session: FakeSession) -> None:
    session.answers = [answer(429), answer(202, {"volume": {}})]
    assert api.post("/volumes", {}, DOING) == {"volume": {}}


def test_deleting_what_is_gone_is_fine(api: RestApi, session: FakeSession) -> None:
    session.answers = [answer(503), refusal(404, "gone")]
    api.delete("/volumes/1", DOING)
    assert len(session.asked) == 2


def test_reading_what_is_gone_is_an_error(api: RestApi, session: FakeSession) -> None:
    session.answers = [refusal(404, "gone")]
    with pytest.raises(ResourceMissingError):
        api.get("/volumes/1", DOING)


def test_a_listing_has_all_pages(api: RestApi, session: FakeSession) -> None:
    session.handle = Collection(["a", "b", "c", "d", "e"])
    assert listed(api) == ["a", "b", "c", "d", "e"]


def test_a_listing_of_nothing_is_empty(api: RestApi, session: FakeSession) -> None:
    session.handle = Collection([])
    assert listed(api) == []


def test_a_filter_is_sent_with_every_page(api: RestApi, session: FakeSession) -> None:
    session.handle = Collection(["a", "b", "c"])
    api.list_all("/attachments/detail", "volumes", DOING, volume_id="1")
    assert {asked.params["volume_id"] for asked in session.asked} == {"1"}


def test_a_listing_survives_that_the_marker_of_its_next_page_vanishes(api: RestApi, session: FakeSession) -> None:
    class Shrinking(Collection):
        def before_page(self) -> None:
            if self.pages == 2:
                self.ids.remove("b")

    session.handle = Shrinking(["a", "b", "c", "d"])
    assert listed(api) == ["a", "c", "d"]


def test_a_listing_that_never_holds_still_is_given_up(api: RestApi, session: FakeSession) -> None:
    class Restless(Collection):
        def before_page(self) -> None:
            self.ids = [f"{self.pages}-{n}" for n in range(4)]

    session.handle = Restless([])
    with pytest.raises(CloudUnavailableError, match="vanish faster"):
        listed(api)
