"""S3: addresses, options, and what servers answer when they are in trouble."""

from __future__ import annotations

import base64
import hashlib
from contextlib import closing

import pytest
from tests.unit.backend.scripted import Reply, scripted

from icebrick.backend.base import FileType, Handle
from icebrick.backend.location import parse_location
from icebrick.backend.options import BackendOptions
from icebrick.backend.s3.address import S3Address, parse_s3_address
from icebrick.backend.s3.backend import open_s3
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    ShortReadError,
    StorageFullError,
    UsageError,
)

ID = "ab" + "0" * 62
PACK = Handle(FileType.PACK, ID)
KEY = Handle(FileType.KEY, ID)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_CONFIG_FILE": "/dev/null"}


@pytest.fixture(scope="module")
def one_server():
    with scripted() as script:
        yield script


@pytest.fixture
def server(one_server):
    one_server.seen.clear()
    one_server.replies.clear()
    return one_server


@pytest.fixture(scope="module")
def plain(one_server):
    """Made once: the library reads for a quarter of a second what S3 is."""
    backend = backend_at(f"{one_server.url}/bucket/a/b", CREDENTIALS, {})
    yield backend
    backend.close()


@pytest.fixture
def opened(server, plain):
    made = []

    def opened(*, path="/bucket/a/b", environment=CREDENTIALS, **options):
        if (path, environment, options) == ("/bucket/a/b", CREDENTIALS, {}):
            return plain
        made.append(backend_at(f"{server.url}{path}", environment, options))
        return made[-1]

    yield opened
    for backend in made:
        backend.close()


def backend_at(url, environment, options):
    values = {f"s3.{name.replace('_', '-')}": value for name, value in options.items()}
    return open_s3(parse_location(f"s3:{url}"), BackendOptions(values, environment=environment))


def refusal(status, code, message="words"):
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})


def page(*keys, more=""):
    entries = "".join(f"<Contents><Key>{key}</Key><Size>4</Size></Contents>" for key in keys)
    rest = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    if more:
        rest += f"<NextContinuationToken>{more}</NextContinuationToken>"
    return Reply(200, f"<ListBucketResult>{entries}{rest}</ListBucketResult>".encode())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://host:9000/bucket", S3Address("https://host:9000", "bucket", "")),
        ("http://host/bucket/", S3Address("http://host", "bucket", "")),
        ("host/bucket/pre/fix", S3Address("https://host", "bucket", "pre/fix/")),
        ("//host/bucket//pre/./x/../fix//", S3Address("https://host", "bucket", "pre/fix/")),
        ("[::1]:9000/bucket", S3Address("https://[::1]:9000", "bucket", "")),
        ("s3.amazonaws.com/bucket/x", S3Address(None, "bucket", "x/")),
        ("https://s3.eu-west-1.amazonaws.com/bucket", S3Address(None, "bucket", "", "eu-west-1")),
        ("s3-us-gov-west-1.amazonaws.com/bucket", S3Address(None, "bucket", "", "us-gov-west-1")),
    ],
)
def test_addresses_are_read_as_restic_reads_them(text, address):
    assert parse_s3_address(parse_location(f"s3:{text}")) == address


@pytest.mark.parametrize("text", ["", "host", "https://host/", "https:///bucket", "https://id:key@host/b", "h:x/b"])
def test_an_address_without_a_bucket_is_a_mistake(text):
    with pytest.raises(UsageError) as caught:
        parse_s3_address(parse_location(f"s3:{text}"))
    assert "key" not in str(caught.value)


def test_a_file_goes_below_the_prefix_with_a_digest_in_one_request(server, opened):
    server.says(Reply())
    opened().save(PACK, memoryview(b"pack"))
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.body) == ("PUT", f"/bucket/a/b/data/ab/{ID}", b"pack")
    assert seen.headers["Content-MD5"] == base64.b64encode(hashlib.md5(b"pack").digest()).decode()
    assert seen.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/")


@pytest.mark.parametrize(("path", "key"), [("/bucket", "/bucket/config"), ("/bucket/", "/bucket/config")])
def test_without_a_prefix_the_repository_is_the_bucket(server, opened, path, key):
    server.says(Reply(200, b"config"))
    assert opened(path=path).load(Handle(FileType.CONFIG)) == b"config"
    assert server.seen[0].path == key


@pytest.mark.parametrize(
    ("chosen", "pack", "key"),
    [(None, None, None), ("standard_ia", "STANDARD_IA", "STANDARD_IA"), ("GLACIER", "GLACIER", None)],
)
def test_an_archive_storage_class_is_for_packs_alone(server, opened, chosen, pack, key):
    server.says(Reply(), Reply())
    backend = opened(**({} if chosen is None else {"storage_class": chosen}))
    backend.save(PACK, b"pack")
    backend.save(KEY, b"key")
    assert [each.headers.get("x-amz-storage-class") for each in server.seen] == [pack, key]


def test_a_session_token_goes_with_the_credentials(server, opened):
    server.says(Reply())
    opened(environment={**CREDENTIALS, "AWS_SESSION_TOKEN": "token"}).remove(PACK)
    assert server.seen[0].headers["X-Amz-Security-Token"] == "token"


def test_nothing_is_signed_when_that_is_said(server, opened):
    server.says(Reply())
    opened(unsafe_anonymous_auth="true").remove(PACK)
    assert "Authorization" not in server.seen[0].headers


@pytest.mark.parametrize(
    ("environment", "options", "region"),
    [
        ({}, {}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "r1"}, {}, "r1"),
        ({"AWS_DEFAULT_REGION": "r1", "AWS_REGION": "r2"}, {}, "r2"),
        ({"AWS_DEFAULT_REGION": "r1"}, {"region": "r3"}, "r3"),
    ],
)
def test_the_region_is_in_the_signature(server, opened, environment, options, region):
    server.says(Reply())
    opened(environment={**CREDENTIALS, **environment}, **options).remove(PACK)
    assert f"/{region}/s3/aws4_request" in server.seen[0].headers["Authorization"]


def test_credentials_of_a_profile_are_found_in_the_file_that_is_named(server, opened, tmp_path):
    (tmp_path / "credentials").write_text("[backup]\naws_access_key_id = other\naws_secret_access_key = secret\n")
    server.says(Reply())
    named = {"AWS_PROFILE": "backup", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    opened(environment={**named, "AWS_CONFIG_FILE": "/dev/null"}).remove(PACK)
    assert "Credential=other/" in server.seen[0].headers["Authorization"]


@pytest.mark.parametrize(
    ("options", "environment"),
    [({"bucket_lookup": "wrong"}, CREDENTIALS), ({"layout": "x"}, CREDENTIALS), ({}, {"AWS_PROFILE": "nobody's"})],
)
def test_what_cannot_be_meant_is_a_mistake(opened, options, environment):
    with pytest.raises(UsageError):
        opened(environment=environment, **options)


@pytest.mark.parametrize(
    ("lookup", "address"),
    [
        ("auto", "http://far.example:9000/bucket/config"),
        ("path", "http://far.example:9000/bucket/config"),
        ("dns", "http://bucket.far.example:9000/config"),
    ],
)
def test_a_bucket_is_in_the_path_or_in_the_name_of_the_host(server, lookup, address):
    server.says(Reply(200, b"config"))
    environment = {**CREDENTIALS, "HTTP_PROXY": server.url}
    with closing(backend_at("http://far.example:9000/bucket", environment, {"bucket_lookup": lookup})) as backend:
        assert backend.load(Handle(FileType.CONFIG)) == b"config"
    assert server.seen[0].path == address


def test_at_amazon_each_bucket_has_a_name_in_its_region(server):
    server.says(Reply(403))
    environment = {**CREDENTIALS, "HTTPS_PROXY": server.url}
    with (
        closing(backend_at("s3.amazonaws.com/bucket", environment, {"region": "eu-west-1"})) as backend,
        pytest.raises(BackendError),
    ):
        backend.load(Handle(FileType.CONFIG))
    assert (server.seen[0].method, server.seen[0].path) == ("CONNECT", "bucket.s3.eu-west-1.amazonaws.com:443")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(404, "NoSuchKey"), FileMissingError),
        (refusal(404, "NoSuchBucket"), FileMissingError),
        (refusal(403, "AccessDenied"), AccessDeniedError),
        (refusal(403, "SignatureDoesNotMatch"), AccessDeniedError),
        (refusal(400, "ExpiredToken"), AccessDeniedError),
        (refusal(403, "RequestTimeTooSkewed"), AccessDeniedError),
        (refusal(403, "InvalidObjectState"), BackendError),
        (refusal(400, "AuthorizationHeaderMalformed"), BackendError),
        (refusal(503, "SlowDown"), BackendUnavailableError),
        (refusal(400, "RequestTimeout"), BackendUnavailableError),
        (refusal(500, "InternalError"), BackendUnavailableError),
        (Reply(502, b"<html>bad gateway"), BackendUnavailableError),
        (Reply(200, b"0123456789", cut=4), ShortReadError),
    ],
)
def test_what_a_server_answers_becomes_the_error_that_it_means(server, opened, reply, error):
    server.says(reply)
    with pytest.raises(error, match=f"cannot load data/{ID} at s3:") as caught:
        opened().load(PACK)
    assert type(caught.value) is error
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(400, "BadDigest"), BackendUnavailableError),
        (refusal(507, "XMinioStorageFull"), StorageFullError),
        (refusal(403, "QuotaExceeded"), StorageFullError),
        (refusal(404, "NoSuchBucket"), BackendError),
    ],
)
def test_a_save_that_fails_tells_why(server, opened, reply, error):
    server.says(reply)
    with pytest.raises(error) as caught:
        opened().save(PACK, b"pack")
    assert type(caught.value) is error
    assert len(server.seen) == 1


def test_a_server_tells_how_long_to_wait(server, opened):
    reply = refusal(503, "SlowDown")
    reply.headers["Retry-After"] = "7"
    server.says(reply)
    with pytest.raises(BackendUnavailableError) as caught:
        opened().stat(PACK)
    assert caught.value.retry_after == 7.0


def test_a_long_listing_comes_page_by_page(server, opened):
    names = [f"{number:064x}" for number in range(3)]
    server.says(page(f"a/b/keys/{names[0]}", "a/b/keys/junk", more="t1"), page(more="t2"), page(f"a/b/keys/{names[2]}"))
    found = [info.handle.name for info in opened().list_files(FileType.KEY)]
    assert found == [names[0], names[2]]
    assert ["continuation-token=t2" in each.path for each in server.seen] == [False, False, True]


@pytest.mark.parametrize(
    "body",
    ["<Contents><Key>a/b/keys/x</Key></Contents>", "<Contents><Key>k</Key><Size>many</Size></Contents>"],
)
def test_a_listing_that_makes_no_sense_is_an_error(server, opened, body):
    server.says(Reply(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{body}</ListBucketResult>".encode()))
    with pytest.raises(BackendError, match="makes no sense"):
        list(opened().list_files(FileType.KEY))


@pytest.mark.parametrize("length", ["", "many"])
def test_a_size_that_makes_no_sense_is_an_error(server, opened, length):
    server.says(Reply(200, b"", {"Content-Length": length}, cut=0))
    with pytest.raises(BackendError, match="makes no sense"):
        opened().stat(PACK)


def test_a_bucket_that_is_missing_is_made_and_removed_by_who_made_it(server, opened):
    server.says(Reply(404), Reply(), Reply(204))
    backend = opened(region="far-away")
    backend.create()
    assert backend.discard()
    assert [(each.method, each.path) for each in server.seen[1:]] == [("PUT", "/bucket"), ("DELETE", "/bucket")]
    assert b"<LocationConstraint>far-away<" in server.seen[1].body


@pytest.mark.parametrize("status", [200, 403])
def test_a_bucket_that_is_there_or_may_not_be_asked_for_stays(server, opened, status):
    server.says(Reply(status))
    backend = opened()
    backend.create()
    assert backend.discard()
    assert [each.method for each in server.seen] == ["HEAD"]
