"""A repository in a bucket of Amazon's S3, or of any server that speaks the same.

    s3:https://host[:port]/bucket[/prefix]       s3:host/bucket/prefix       s3:s3.amazonaws.com/bucket

The only module that knows the library. Decision record: docs/design/decisions/0010-storage-libraries.md.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import botocore
import botocore.config
import botocore.session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.http.client import ANSWER_SECONDS, CONNECT_SECONDS, CONNECTIONS, connection_error
from icebrick.backend.http.proxies import proxy_of
from icebrick.backend.http.status import Answer
from icebrick.backend.location import Location
from icebrick.backend.objects import ObjectBackend
from icebrick.backend.options import BackendOptions, connections_of
from icebrick.backend.s3.address import S3Address, parse_s3_address
from icebrick.backend.s3.errors import error_of_code
from icebrick.backend.viewfile import ViewFile
from icebrick.blockdev import Data
from icebrick.errors import AccessDeniedError, BackendError, BackendUnavailableError, FileMissingError, UsageError

OPTIONS = ("bucket-lookup", "connections", "region", "storage-class", "unsafe-anonymous-auth")

_STYLES = {"auto": "auto", "path": "path", "dns": "virtual"}
_FIRST_REGION = "us-east-1"
# Takes hours to read; packs are read seldom and can wait, what tells where they are cannot.
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_CREDENTIALS_HINT = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."


def open_s3(location: Location, options: BackendOptions) -> S3Backend:
    """Credentials are found as Amazon's own programs find them: AWS_* variables, profiles, the host's role."""
    values = options.of("s3", OPTIONS)
    address = parse_s3_address(location)
    style = values.get("bucket-lookup", "auto")
    if style not in _STYLES:
        raise UsageError(f"s3.bucket-lookup must be one of {', '.join(_STYLES)}, not {style}")
    connections = connections_of(values, CONNECTIONS)
    try:
        client = _new_client(address, values, options, connections)
    except (ProfileNotFound, InvalidRegionError, ValueError) as error:
        raise UsageError(f"cannot open {location}: {error}") from error
    return S3Backend(client, address, location=str(location), connections=connections, storage=_storage(values))


@dataclass(frozen=True, slots=True)
class _Storage:
    """`storage_class` is None for the bucket's own."""

    storage_class: str | None

    def of(self, file_type: FileType) -> dict[str, str]:
        if self.storage_class is None or (self.storage_class in _ARCHIVES and file_type is not FileType.PACK):
            return {}
        return {"StorageClass": self.storage_class}


def _storage(values: Mapping[str, str]) -> _Storage:
    return _Storage(values.get("storage-class", "").upper() or None)


class S3Backend(ObjectBackend):
    """Objects below a prefix of a bucket; `client` is the library's."""

    def __init__(self, client: Any, address: S3Address, *, location: str, connections: int, storage: _Storage) -> None:
        super().__init__(address.prefix, location=location, connections=connections)
        self._client = client
        self._bucket = address.bucket
        self._storage = storage
        self._made = False

    def create(self) -> None:
        with _translated(f"create {self.location}", self._bucket):
            try:
                self._client.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                # Who may not ask may still write.
                if _status(error) == 403:
                    return
                if _status(error) != 404:
                    raise
                self._create_bucket()

    def save(self, handle: Handle, data: Data) -> None:
        file = self.file(handle)
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        with _translated(f"save {file.where}", self._bucket, absent=BackendError):
            self._client.put_object(
                Bucket=self._bucket,
                Key=file.key,
                Body=ViewFile(data),
                ContentMD5=base64.b64encode(digest).decode(),
                ContentType="application/octet-stream",
                **self._storage.of(handle.type),
            )

    def remove(self, handle: Handle) -> None:
        file = self.file(handle)
        with suppress(FileMissingError), _translated(f"remove {file.where}", self._bucket):
            self._client.delete_object(Bucket=self._bucket, Key=file.key)

    def discard(self) -> bool:
        """Removes the bucket, if this made it."""
        if self._made:
            try:
                with _translated(f"remove bucket {self._bucket}", self._bucket):
                    self._client.delete_bucket(Bucket=self._bucket)
            except BackendError:
                return False
            self._made = False
        return True

    def close(self) -> None:
        self._client.close()

    def file(self, handle: Handle) -> _S3File:
        return _S3File(handle, f"{handle} at {self.location}", self._client, self._bucket, self.key(handle))

    def objects(self, prefix: str, doing: str) -> Iterator[tuple[str, int]]:
        more: dict[str, str] = {}
        while True:
            with _translated(doing, self._bucket):
                try:
                    page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
                except ClientError as error:
                    if _status(error) == 404:
                        return
                    raise
                found = [(str(entry["Key"]), int(entry["Size"])) for entry in page.get("Contents", [])]
            if "IsTruncated" not in page:  # a page of something between, say; the library finds nothing in it
                raise BackendError(f"cannot {doing}: the server's answer is no listing")
            yield from found
            if not page.get("IsTruncated"):
                return
            if not page.get("NextContinuationToken"):
                raise BackendError(f"cannot {doing}: the server does not tell where the listing goes on")
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _create_bucket(self) -> None:
        region = self._client.meta.region_name
        place = {} if region == _FIRST_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self._client.create_bucket(Bucket=self._bucket, **place)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                raise
        else:
            self._made = True


@dataclass(frozen=True, slots=True)
class _S3File:
    """A `RemoteFile` in a bucket."""

    handle: Handle
    where: str
    client: Any
    bucket: str
    key: str

    def get(self, wanted: str | None, at_most: int) -> Answer:
        doing = f"load {self.where}"
        part = {} if wanted is None else {"Range": wanted}
        with _translated(doing, self.bucket):
            try:
                found = self.client.get_object(Bucket=self.bucket, Key=self.key, **part)
            except ClientError as error:
                if _status(error) == 416:
                    return Answer(416, {}, b"")
                raise
            with closing(found["Body"]) as body:  # entered itself, it would give what checks no lengths
                if found["ContentLength"] > at_most:
                    raise BackendError(f"cannot {doing}: the server sends more than was asked for")
                content = body.read()
        status = found["ResponseMetadata"]["HTTPStatusCode"]
        return Answer(status, {"Content-Range": found.get("ContentRange", "")}, content)

    def examine(self) -> FileInfo:
        with _translated(f"examine {self.where}", self.bucket):
            found = self.client.head_object(Bucket=self.bucket, Key=self.key)
            return FileInfo(self.handle, int(found["ContentLength"]))


def _new_client(address: S3Address, values: Mapping[str, str], options: BackendOptions, connections: int) -> Any:
    environment = options.environment
    session = botocore.session.Session(profile=environment.get("AWS_PROFILE"))
    for variable, setting in (("AWS_SHARED_CREDENTIALS_FILE", "credentials_file"), ("AWS_CONFIG_FILE", "config_file")):
        if environment.get(variable):
            session.set_config_variable(setting, environment[variable])
    if environment.get("AWS_ACCESS_KEY_ID"):
        session.set_credentials(
            environment["AWS_ACCESS_KEY_ID"],
            environment.get("AWS_SECRET_ACCESS_KEY", ""),
            environment.get("AWS_SESSION_TOKEN"),
        )
    region = values.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    region = region or address.region or session.get_config_variable("region") or _FIRST_REGION
    return session.create_client(
        "s3",
        region_name=region,
        endpoint_url=address.endpoint,
        verify=None if options.ca_file is None else str(options.ca_file),
        config=_client_config(address, values, options, connections),
    )


def _client_config(address: S3Address, values: Mapping[str, str], options: BackendOptions, connections: int) -> Any:
    url = address.endpoint or "https://s3.amazonaws.com"
    proxy = proxy_of(url, options.environment)
    style = _STYLES[values.get("bucket-lookup", "auto")]
    if style == "auto" and address.endpoint is not None:
        style = "path"  # a name of its own for each bucket is what most servers elsewhere do not have
    certificate = options.client_certificate
    anonymous = values.get("unsafe-anonymous-auth", "false").lower() in {"1", "true", "t"}
    return botocore.config.Config(
        signature_version=botocore.UNSIGNED if anonymous else "s3v4",
        s3={"addressing_style": style},
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        max_pool_connections=connections,
        # Newer checksums than Content-MD5, which many servers refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        client_cert=None if certificate is None else str(certificate),
        proxies={} if proxy is None else {url.partition(":")[0]: proxy},
        user_agent_extra="icebrick",
    )


@contextmanager
def _translated(doing: str, bucket: str, *, absent: type[BackendError] = FileMissingError) -> Iterator[None]:
    """The library's errors become ours; `absent` is what a missing object is, which when saving is the bucket."""
    try:
        yield
    except ClientError as error:
        raise error_of_code(error.response, doing, bucket, absent) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise AccessDeniedError(f"cannot {doing}: {error}", hint=_CREDENTIALS_HINT) from error
    except ParamValidationError as error:
        raise UsageError(f"cannot {doing}: {bucket} is no name of a bucket") from error
    except (ResponseParserError, ValueError, KeyError) as error:
        raise BackendUnavailableError(f"cannot {doing}: the server's answer makes no sense") from error
    except (BotoCoreError, OSError) as error:
        raise connection_error(error, doing) from error


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
