"""A CinderCloud whose Cinder is a script."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from tests.unit.cloud.fakesession import FakeClock, FakeSession

from icebrick.cloud.api import RestApi
from icebrick.cloud.base import Project
from icebrick.cloud.cinder import CinderCloud, Login
from icebrick.cloud.wait import Pace
from icebrick.testing.fakecloud import FakeCloud


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def cloud(session: FakeSession) -> CinderCloud:
    """A member's."""
    return cinder_cloud(session, admin=False)


@pytest.fixture
def admin(session: FakeSession) -> CinderCloud:
    return cinder_cloud(session, admin=True)


def cinder_cloud(session: FakeSession, *, admin: bool) -> CinderCloud:
    waiter = FakeClock().waiter(Pace(work=60, settle=30))
    login = Login(
        Project("p1", "alpha"),
        admin=admin,
        in_project=lambda project_id: nullcontext(FakeCloud()),
        find_servers=lambda cloud: FakeCloud().servers(),
        list_projects=lambda: FakeCloud(admin=True).all_projects(),
        get_key=FakeCloud().get_key,
        close=lambda: None,
    )
    return CinderCloud(RestApi(session, "3.60", waiter), login, waiter)
