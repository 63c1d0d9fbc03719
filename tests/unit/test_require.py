"""A missing service skips a test, or fails it where --require names the service."""

from __future__ import annotations

import pytest


@pytest.fixture
def requiring(require):
    """As `require` would be with these names on the command line."""
    return lambda *names: type(require)(frozenset(names))


def test_what_is_there_lets_the_test_go_on(requiring):
    requiring("restic")("restic", "/usr/bin/restic", "not installed")


def test_what_is_missing_skips_the_test(requiring):
    with pytest.raises(pytest.skip.Exception, match="restic: not installed"):
        requiring("root")("restic", None, "not installed")


def test_what_is_missing_and_required_fails_the_test(requiring):
    with pytest.raises(pytest.fail.Exception, match="restic is required but missing: not installed"):
        requiring("root", "restic")("restic", None, "not installed")


def test_the_option_takes_several_names(request):
    assert request.config._parser.parse(["--require", "restic, root,"]).require == {"restic", "root"}
