"""A new repository in memory below its `Repository`, and what goes for all that starts threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from icebrick.backend.base import Backend
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.crypto import Key, new_key
from icebrick.repository.index.index import Index
from icebrick.testing.images import RecordingBackend
from icebrick.testing.repositories import empty_repository


@pytest.fixture
def key() -> Key:
    """The repository's master key."""
    return new_key()


@pytest.fixture
def backend(key: Key) -> RecordingBackend:
    """The new repository; what made it is not among the notes."""
    return RecordingBackend(empty_repository(key))


@pytest.fixture
def store(backend: Backend, key: Key) -> BlobStore:
    return BlobStore(backend, key, Index())


@pytest.fixture
def no_thread_outlives_its_test() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
