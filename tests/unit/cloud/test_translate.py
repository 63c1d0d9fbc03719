"""Every way in which OpenStack says no becomes one of our errors, with the id and what to do."""

from __future__ import annotations

import keystoneauth1.exceptions as auth_errors
import openstack.exceptions as sdk_errors
import pytest

from icebrick.cloud.translate import RateLimitedError, detail_of, error_from_response, translated
from icebrick.errors import (
    AccessForbiddenError,
    CloudError,
    CloudUnavailableError,
    IcebrickError,
    QuotaError,
    ResourceMissingError,
    UnexpectedStateError,
    UsageError,
)


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (400, "Availability zone 'x' is invalid", CloudError),
        (400, "Invalid volume: Volume status must be available", UnexpectedStateError),
        (400, "Invalid snapshot: status must be available", UnexpectedStateError),
        (401, "", AccessForbiddenError),
        (403, "Policy does not allow this", AccessForbiddenError),
        (403, "Quota exceeded for volumes", QuotaError),
        (404, "not found", ResourceMissingError),
        (406, "version 3.54 is not supported", CloudError),
        (409, "in use", UnexpectedStateError),
        (413, "VolumeLimitExceeded", QuotaError),
        (429, "slow down", RateLimitedError),
        (500, "Unable to update the attachment", CloudUnavailableError),
        (503, "", CloudUnavailableError),
    ],
)
def test_a_status_is_an_error_of_its_kind(status: int, detail: str, kind: type[CloudError]) -> None:
    assert type(error_from_response(status, detail, "do it")) is kind


def test_the_message_tells_what_failed_on_what_and_why() -> None:
    error = error_from_response(404, "could not be found", "read volume 1f2e")
    assert str(error) == "cannot read volume 1f2e: could not be found (HTTP 404)"


@pytest.mark.parametrize("status", [401, 413])
def test_what_a_user_can_mend_has_a_hint(status: int) -> None:
    assert error_from_response(status, "", "do it").hint


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_only_an_unavailable_cloud_is_retryable(status: int) -> None:
    assert error_from_response(status, "", "do it").retryable


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"itemNotFound": {"code": 404, "message": "gone."}}, "gone"),
        ({"error": {"message": "who are you", "code": 401}}, "who are you"),
        ({"message": "flat"}, ""),
        ({"a": {"message": ["odd"]}}, ""),
        (None, ""),
        ([1], ""),
    ],
)
def test_the_detail_is_found_in_any_body(body: object, detail: str) -> None:
    assert detail_of(body) == detail


def test_a_detail_that_repeats_a_long_value_is_cut() -> None:
    assert len(detail_of({"badRequest": {"message": "x" * 100_000}})) < 1000


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (auth_errors.ConnectFailure("refused"), CloudUnavailableError),
        (auth_errors.ConnectTimeout("slow"), CloudUnavailableError),
        (auth_errors.DiscoveryFailure("nothing there"), CloudUnavailableError),
        (auth_errors.Unauthorized("wrong password"), AccessForbiddenError),
        (auth_errors.InternalServerError("broken"), CloudUnavailableError),
        (auth_errors.MissingAuthPlugin("none"), UsageError),
        (auth_errors.EndpointNotFound("no cinder"), UsageError),
        (auth_errors.ClientException("anything"), CloudError),
        (sdk_errors.ConfigException("no such cloud"), UsageError),
        (sdk_errors.SDKException("anything"), CloudError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_the_libraries_raise_is_ours_outside(raised: Exception, kind: type[IcebrickError]) -> None:
    with pytest.raises(IcebrickError, match="cannot log in") as caught, translated("log in"):
        raise raised
    assert type(caught.value) is kind
    assert caught.value.__cause__ is raised


def test_a_failed_connection_is_told_by_its_address_and_its_last_cause() -> None:
    text = (
        "Unable to establish connection to http://c:1/v3: HTTPConnectionPool(host='c', port=1): Max retries exceeded "
        "with url: /v3 (Caused by NewConnectionError(\"HTTPConnection(host='c', port=1): Connection refused\"))"
    )
    with pytest.raises(CloudUnavailableError) as caught, translated("log in"):
        raise auth_errors.ConnectFailure(text)
    assert str(caught.value) == ("cannot log in: Unable to establish connection to http://c:1/v3: Connection refused")


def test_bugs_are_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), translated("log in"):
        raise ZeroDivisionError
