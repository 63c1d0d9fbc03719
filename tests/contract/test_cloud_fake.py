"""The fake passes the contract of the real one."""

from __future__ import annotations

import pytest

from icebrick.testing.cloud_contract import CloudContract
from icebrick.testing.fakecloud import BETA, FakeCloud, FakeRecords
from icebrick.testing.fakeconnector import FakeConnector


class TestFakeCloud(CloudContract):
    @pytest.fixture
    def records(self) -> FakeRecords:
        return FakeRecords()

    @pytest.fixture
    def cloud(self, records: FakeRecords) -> FakeCloud:
        return FakeCloud(records)

    @pytest.fixture
    def stranger(self, records: FakeRecords) -> FakeCloud:
        return FakeCloud(records, BETA)

    @pytest.fixture
    def connector(self, records: FakeRecords) -> FakeConnector:
        return FakeConnector(records)
