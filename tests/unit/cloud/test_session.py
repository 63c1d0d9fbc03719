"""Logging in: what is missing or refused is told before anything is done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icebrick.cloud.session import connect, negotiated
from icebrick.cloud.wait import Pace
from icebrick.errors import CloudError, CloudUnavailableError, UsageError

ONCE = Pace(attempts=1)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this host's clouds nor its variables are looked at."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(
        "clouds: {down: {auth: {auth_url: 'http://127.0.0.1:1/v3', username: u, password: s3cret, project_name: p,"
        " user_domain_name: d, project_domain_name: d}}}"
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))


def test_a_name_that_is_in_no_clouds_yaml_is_an_error_of_usage() -> None:
    with pytest.raises(UsageError, match="cannot log in to cloud nobody") as caught:
        connect("nobody", pace=ONCE)
    assert "clouds.yaml" in str(caught.value.hint)


def test_a_cloud_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(CloudUnavailableError, match=r"cannot log in to cloud down: .*127\.0\.0\.1:1"):
        connect("down", pace=ONCE)


def test_incomplete_variables_are_an_error_of_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("OS_USERNAME", "u")
    with pytest.raises(UsageError, match="auth_url"):
        connect(pace=ONCE)


@pytest.mark.parametrize(
    ("newest", "chosen"), [((3, 59), "3.59"), ((3, 60), "3.60"), ((3, 71), "3.71"), ((3, 99), "3.71")]
)
def test_the_newest_microversion_that_both_speak_is_used(newest: tuple[int, int], chosen: str) -> None:
    assert negotiated((3, 0), newest) == chosen


def test_a_cinder_that_is_too_old_is_an_error_that_says_so() -> None:
    with pytest.raises(CloudError, match=r"up to 3\.58, and 3\.59 is needed"):
        negotiated((3, 0), (3, 58))


def test_a_service_without_microversions_is_not_cinders_third() -> None:
    with pytest.raises(UsageError, match="microversions"):
        negotiated(None, None)
