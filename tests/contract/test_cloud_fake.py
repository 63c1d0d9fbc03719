"""The fake passes the contract of the real one."""

from __future__ import annotations

import pytest

from icebrick.errors import AccessForbiddenError
from icebrick.testing.cloud_contract import CloudContract
from icebrick.testing.decryption_contract import DecryptionContract
from icebrick.testing.encryption_contract import EncryptionContract
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector
from icebrick.testing.fakerecords import ALPHA, BETA, SERVICE, FakeRecords
from icebrick.testing.group_contract import GroupContract
from icebrick.testing.project_contract import ProjectContract, Stick


@pytest.fixture
def records() -> FakeRecords:
    return FakeRecords(volume_types={"__DEFAULT__", "luks", "luks2"})


@pytest.fixture
def cloud(records: FakeRecords) -> FakeCloud:
    return FakeCloud(records)


@pytest.fixture
def stranger(records: FakeRecords) -> FakeCloud:
    return FakeCloud(records, BETA)


@pytest.fixture
def admin(records: FakeRecords) -> FakeCloud:
    return FakeCloud(records, SERVICE, admin=True, elsewhere=(ALPHA,))


@pytest.fixture
def connector(records: FakeRecords) -> FakeConnector:
    return FakeConnector(records)


@pytest.fixture
def stick(cloud: FakeCloud) -> Stick:
    return lambda kind, resource_id: cloud.set_status(resource_id, "creating")


class TestFakeCloud(CloudContract):
    """Volumes, volume snapshots, attachments."""


class TestFakeEncryption(EncryptionContract):
    """Encrypted volumes and their keys."""


class TestFakeDecryption(DecryptionContract):
    """Encrypted volumes on a host."""


class TestFakeGroups(GroupContract):
    """Groups, group snapshots."""


class TestFakeProjects(ProjectContract):
    """Administrators, several roles, transfers."""


def test_an_application_credential_is_bound_to_its_project(records: FakeRecords) -> None:
    bound = FakeCloud(records, elsewhere=None)
    with pytest.raises(AccessForbiddenError, match="application credential"), bound.in_project(BETA.id):
        pass
