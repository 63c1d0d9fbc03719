"""The fake passes the contract of the real one."""

from __future__ import annotations

import pytest

from icebrick.testing.cloud_contract import CloudContract
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector
from icebrick.testing.fakerecords import BETA, FakeRecords


@pytest.fixture
def records() -> FakeRecords:
    return FakeRecords()


@pytest.fixture
def cloud(records: FakeRecords) -> FakeCloud:
    return FakeCloud(records)


@pytest.fixture
def stranger(records: FakeRecords) -> FakeCloud:
    return FakeCloud(records, BETA)


@pytest.fixture
def connector(records: FakeRecords) -> FakeConnector:
    return FakeConnector(records)


class TestFakeCloud(CloudContract):
    """Volumes, volume snapshots, attachments."""
