"""Jobs: what is read, and how mistakes in them are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from icebrick.config import options
from icebrick.config.job import load_job, parse_job
from icebrick.config.settings import load_settings
from icebrick.errors import UsageError


def test_a_jobs_action_and_values_are_read() -> None:
    job = parse_job(b'{"action": "backup", "all_tenants": true, "exclude": ["a", "b"]}', "nightly.json")
    assert job.action == "backup"
    assert job.values == {options.ALL_TENANTS: "yes", options.EXCLUDE: "a,b"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "job nightly.json is not JSON"),
        (b"\xff\x00\x01", "job nightly.json is not JSON"),
        (b"[" * 100_000, "job nightly.json is not JSON"),
        (b"[]", "job nightly.json is not a JSON object"),
        (b'"backup"', "job nightly.json is not a JSON object"),
        (b"{}", "job nightly.json: action: is missing, expected backup or restore"),
        (b'{"action": "destroy"}', 'job nightly.json: action: "destroy", expected backup or restore'),
        (b'{"action": {}}', "job nightly.json: action: [], expected backup or restore"),
        (b'{"action": "backup", "action": "restore"}', "job nightly.json: action: stands twice"),
        (b'{"action": "backup", "colt": true}', "job nightly.json: colt: unknown key, expected one of project_id"),
        (b'{"action": "backup", "in_place": true}', "job nightly.json: in_place: is for restore, and this is a backup"),
        (b'{"action": "backup", "cold": true, "cold": true}', "job nightly.json: cold: stands twice"),
        (b'{"action": "restore", "to_cloud": "a", "to-cloud": "b"}', "job nightly.json: to-cloud: stands twice"),
        (b'{"action": "backup", "filter": "colour=red"}', "'colour=red' is not a filter"),
        (b'{"action": "backup", "filter": ["name"]}', "'name' is not a filter"),
        (b'{"action": "backup", "tag": "project:x"}', "tag 'project:x' begins like one of icebrick's own"),
        (b'{"action": "backup", "single_volume_id": "../x"}', "single_volume_id: '../x' is not ids"),
        (b'{"action": "backup", "engine_os_brick": false}', "engine_os_brick: 'no' is not yes"),
        (b'{"action": "restore", "map_type": "ssd"}', "map_type: 'ssd' is not OLD=NEW"),
        (b'{"action": "restore", "map_type": "a=b,a=c"}', "map_type: 'a=b,a=c' is not OLD=NEW"),
        (b'{"action": "restore", "to_project": "../x"}', "to_project: '../x' is not a project's id"),
    ],
)
def test_a_mistake_is_told_with_job_key_and_what_was_expected(text: bytes, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_job(text, "nightly.json")
    assert problem in str(caught.value)


def test_a_misspelt_key_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        parse_job(b'{"action": "backup", "all-tenents": true}', "nightly.json")
    assert caught.value.hint == "Did you mean 'all_tenants'?"


@pytest.mark.parametrize("key", ["password", "OS_PASSWORD", "swift-secret", "auth_token", "password_file"])
def test_a_secret_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="secrets do not belong in a job") as caught:
        parse_job(f'{{"action": "backup", "{key}": "geheim"}}'.encode(), "nightly.json")
    assert "geheim" not in str(caught.value)


def test_a_job_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read job"):
        load_job(tmp_path / "absent.json")


def test_a_job_names_its_repository_and_cloud(tmp_path: Path) -> None:
    file = tmp_path / "icebrick.conf"
    file.write_text(
        "[repository:a]\nlocation = /a\n[repository:b]\nlocation = /b\n"
        "[cloud:a]\ncloud = one\n[cloud:b]\ncloud = two\n[cinder-osbrick]\nrepository = a\ncloud = a\n"
    )
    job = parse_job(b'{"action": "backup", "repository": "b", "cloud": "b"}', "nightly.json")
    settings = load_settings({}, {}, file=file, job=job)
    assert (str(settings.repository.location), settings.cloud.cloud) == ("local:/b", "two")
    settings = load_settings({options.REPOSITORY_LOCATION: "a"}, {"OS_CLOUD": "three"}, file=file, job=job)
    assert (str(settings.repository.location), settings.cloud.cloud) == ("local:/a", "three")
