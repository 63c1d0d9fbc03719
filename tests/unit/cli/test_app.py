"""What settings become."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from icebrick.app import opened_backend
from icebrick.backend.base import BackendWrapper
from icebrick.backend.local import LocalBackend
from icebrick.backend.location import parse_location
from icebrick.backend.wrap.limit import LimitBackend
from icebrick.backend.wrap.log import LogBackend
from icebrick.backend.wrap.retry import RetryBackend
from icebrick.config.settings import RepositorySettings
from icebrick.errors import UsageError

SETTINGS = RepositorySettings(parse_location("/srv/backup"), None, None, 1 << 20, 1 << 20, 3)


def test_a_backend_is_limited_then_logged_then_retried() -> None:
    with opened_backend(SETTINGS) as backend:
        layers: list[object] = []
        layer: object = backend
        while isinstance(layer, BackendWrapper):
            layers.append(type(layer))
            layer = layer.inner
        assert layers == [RetryBackend, LogBackend, LimitBackend]
        assert isinstance(layer, LocalBackend)


def test_the_number_of_connections_is_the_one_that_was_set() -> None:
    with opened_backend(SETTINGS) as backend:
        assert backend.connections == 3


def test_without_a_location_there_is_no_backend(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no repository is named"), opened_backend(replace(SETTINGS, location=None)):
        pass
