"""The address of a repository in S3."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from icebrick.backend.location import Location
from icebrick.backend.objects import clean_prefix
from icebrick.errors import UsageError

_AMAZON = re.compile(r"s3(?:[.-]([a-z]+-[a-z-]+-\d+))?\.amazonaws\.com(?:\.cn)?")


@dataclass(frozen=True, slots=True)
class S3Address:
    """`endpoint` is a URL, None for Amazon, whose servers the library finds; `prefix` is empty or ends with a slash.

    `region` is what Amazon's address names.
    """

    endpoint: str | None
    bucket: str
    prefix: str
    region: str | None = None


def parse_s3_address(location: Location) -> S3Address:
    """Of https://host:port/bucket/prefix, //host/bucket or host/bucket; UsageError for what is none of these."""
    address = location.address
    url = address if re.match(r"https?://", address) else f"https://{address.removeprefix('//')}"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 - looked at only when it is asked for
    except ValueError as error:
        raise UsageError(f"the repository location {location} is no URL: {str(error).lower()}") from None
    bucket, _, prefix = parts.path.lstrip("/").partition("/")
    if not host or not bucket or parts.username is not None or parts.query or parts.fragment:
        hint = "Write s3:https://HOST:PORT/BUCKET/PREFIX; credentials are taken from AWS_* variables."
        raise UsageError(f"the repository location {location} names no bucket", hint=hint)
    amazon = _AMAZON.fullmatch(host)
    return S3Address(
        endpoint=None if amazon else f"{parts.scheme}://{parts.netloc}",
        bucket=bucket,
        prefix=clean_prefix(prefix),
        region=amazon[1] if amazon else None,
    )
