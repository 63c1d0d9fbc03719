"""volume.json: what is kept of a volume, and what a hostile record can do: nothing but give a clear error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebrick.cloud.base import Group, Volume
from icebrick.document import MAX_BYTES
from icebrick.errors import CorruptDataError, IcebrickError, RepositoryError
from icebrick.run import Run
from icebrick.workflow.record import GroupRecord, VolumeRecord, decode_record, encode_record

WHERE = "volume.json of snapshot abc"
TAKEN = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
texts = st.dictionaries(text, text, max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(text, children, max_size=3),
    max_leaves=8,
)
volumes = st.builds(
    Volume,
    id=text,
    name=text,
    status=text,
    size=st.integers(1, 1 << 31),
    description=text,
    project_id=text,
    volume_type=st.none() | text,
    availability_zone=st.none() | text,
    bootable=st.booleans(),
    read_only=st.booleans(),
    multiattach=st.booleans(),
    encrypted=st.booleans(),
    group_id=st.none() | text,
    metadata=texts,
    image_metadata=texts,
    created_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    record=st.dictionaries(text, json_values, max_size=4),
)
groups = st.builds(
    GroupRecord,
    st.builds(
        Group,
        id=text,
        name=text,
        status=st.just(""),
        description=text,
        group_type=text,
        volume_types=st.lists(text, max_size=3).map(tuple),
        volume_ids=st.lists(text, max_size=3).map(tuple),
        consistent=st.none() | st.booleans(),
    ),
    text,
)


def sample() -> dict[str, Any]:
    volume = Volume(id="v1", name="disk", status="in-use", size=1, metadata={"a": "b"}, record={"x": [1]})
    group = GroupRecord(Group("g1", "db", "", group_type="t", volume_types=("ssd",), volume_ids=("v1",)), "gs1")
    record = VolumeRecord(volume, Run("r1", "h1"), TAKEN, "icebrick 1", group)
    document: dict[str, Any] = json.loads(encode_record(record))
    return document


@given(volumes, text, text, st.none() | groups)
def test_a_record_is_read_as_it_was_written(volume: Volume, run_id: str, host: str, group: GroupRecord | None) -> None:
    record = VolumeRecord(volume, Run(run_id, host), TAKEN, "icebrick 1", group)
    assert decode_record(encode_record(record), WHERE) == record


def test_the_same_record_gives_the_same_bytes() -> None:
    first = Volume(id="v", name="n", status="s", size=1, metadata={"a": "1", "b": "2"})
    second = Volume(id="v", name="n", status="s", size=1, metadata={"b": "2", "a": "1"})
    run = Run("r", "h")
    assert encode_record(VolumeRecord(first, run, TAKEN, "t")) == encode_record(VolumeRecord(second, run, TAKEN, "t"))


def test_what_is_not_known_is_passed_over() -> None:
    document = sample() | {"later": 1}
    document["volume"]["colour"] = "blue"
    assert decode_record(json.dumps(document).encode(), WHERE).volume.name == "disk"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["format"], "something", "format: expected 'icebrick volume record'"),
        (["version"], "1", "version: expected a whole number"),
        (["version"], True, "version: expected a whole number"),
        (["run"], [], "run: expected an object"),
        (["run", "id"], None, "run: id: expected a string"),
        (["taken"], "yesterday", "taken: expected an ISO 8601 time"),
        (["volume", "name"], 5, "volume: name: expected a string"),
        (["volume", "size_gib"], 0, "volume: size_gib: expected a whole number from 1"),
        (["volume", "size_gib"], 1 << 40, "volume: size_gib: expected a whole number from 1"),
        (["volume", "size_gib"], 1.5, "volume: size_gib: expected a whole number from 1"),
        (["volume", "bootable"], "yes", "volume: bootable: expected true or false"),
        (["volume", "metadata"], {"a": 1}, "volume: metadata: expected an object"),
        (["volume", "metadata"], {str(n): "" for n in range(10_001)}, "volume: metadata: expected an object"),
        (["volume", "created_at"], 7, "volume: created_at: expected a string"),
        (["cinder"], None, "cinder: expected an object"),
        (["group"], "g1", "group: expected an object"),
        (["group", "id"], None, "group: id: expected a string"),
        (["group", "consistent"], "yes", "group: consistent: expected true or false"),
        (["group", "members"], {"v1": 1}, "group: members: expected a list of at most 10000 strings"),
        (["group", "members"], ["v1", 2], "group: members: expected a list of at most 10000 strings"),
        (["group", "volume_types"], ["t"] * 10_001, "group: volume_types: expected a list of at most 10000 strings"),
    ],
)
def test_a_wrong_value_is_named(path: list[str], value: object, problem: str) -> None:
    document = sample()
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(CorruptDataError) as caught:
        decode_record(json.dumps(document).encode(), WHERE)
    assert problem in str(caught.value)
    assert WHERE in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"[" * 100_000,
        b'{"version": NaN}',
        b'{"version": ' + b"9" * 10_000 + b"}",
        b'{"x": "\\ud800"}',
        b" " * (MAX_BYTES + 1),
    ],
    ids=["empty", "no text", "list", "null", "string", "cut", "deep", "nan", "huge number", "surrogate", "too long"],
)
def test_what_is_no_record_is_corrupt_data(data: bytes) -> None:
    with pytest.raises(CorruptDataError, match=r"volume\.json of snapshot abc"):
        decode_record(data, WHERE)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_stored_there_is_never_a_traceback(data: bytes) -> None:
    with pytest.raises(IcebrickError):
        decode_record(data, WHERE)


def test_a_later_version_asks_for_a_newer_icebrick() -> None:
    with pytest.raises(RepositoryError, match="has version 2") as caught:
        decode_record(json.dumps(sample() | {"version": 2}).encode(), WHERE)
    assert not isinstance(caught.value, CorruptDataError)
