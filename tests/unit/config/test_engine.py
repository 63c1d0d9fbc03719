"""What is asked of a backup or restore, made of settings from several sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from icebrick.config import options
from icebrick.config.engine import EngineSettings
from icebrick.config.job import parse_job
from icebrick.config.option import Option
from icebrick.config.settings import Settings, load_settings
from icebrick.errors import UsageError
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.scope import Filter, Scope, ScopeKind
from icebrick.workflow.select import Selection


def load(tmp_path: Path, text: str, given: Mapping[Option[Any], str] | None = None, job: str = "") -> Settings:
    file = tmp_path / "icebrick.conf"
    file.write_text(f"[cloud:spare]\ncloud = spare-backup\n[cinder-osbrick]\n{text}\n")
    parsed = parse_job(f'{{"action": "restore", {job}}}'.encode(), "night") if job else None
    return load_settings(given or {}, {}, file=file, job=parsed)


def engine(tmp_path: Path, text: str, given: Mapping[Option[Any], str] | None = None, job: str = "") -> EngineSettings:
    return load(tmp_path, text, given, job).engine


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("single-volume-id = a, b", Scope(ScopeKind.VOLUMES, ("a", "b"))),
        ("single-volume-id =\n  a,\n  b", Scope(ScopeKind.VOLUMES, ("a", "b"))),
        ("all_tenant_volumes = yes", Scope(ScopeKind.PROJECT)),
        ("all-tenants = yes\nexclude = a", Scope(ScopeKind.ALL_PROJECTS, excluded=("a",))),
        ("consistency_groups = g\nfilter = name=db-*", Scope(ScopeKind.GROUPS, ("g",), (Filter("name", "db-*"),))),
        ("all-tenants = no\nsingle-volume-id =", None),
    ],
)
def test_the_four_scopes(tmp_path: Path, text: str, scope: Scope | None) -> None:
    assert engine(tmp_path, text).scope == scope


def test_two_scopes_in_one_source_are_an_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\] all-tenant-volumes and .*\] all-tenants exclude each other"):
        load(tmp_path, "all-tenants = yes\nall-tenant-volumes = yes")


def test_a_scope_for_once_counts_more_than_the_files_for_every_night(tmp_path: Path) -> None:
    given = {options.SINGLE_VOLUME_ID: "v"}
    assert engine(tmp_path, "all-tenants = yes\nexclude = w", given).scope == Scope(ScopeKind.VOLUMES, ("v",))
    job = '"consistency_groups": ["g"]'
    assert engine(tmp_path, "all-tenants = yes", job=job).scope == Scope(ScopeKind.GROUPS, ("g",))


def test_filters_beside_named_volumes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="filter and exclude are for more volumes"):
        load(tmp_path, "", {options.SINGLE_VOLUME_ID: "v", options.FILTER: "name=x"})


def test_a_snapshots_id_for_once_counts_more_than_the_files_scope(tmp_path: Path) -> None:
    request = engine(tmp_path, "all-tenant-volumes = yes", {options.SNAPSHOT: "4f0b"}).restore_request()
    assert (request.scope, request.selection) == (None, Selection("4f0b"))


def test_of_a_snapshots_id_and_a_date_the_nearer_one_counts(tmp_path: Path) -> None:
    selection = engine(tmp_path, "restore-from-date = 2026-11-20", {options.SNAPSHOT: "4f0b"}).selection
    assert selection == Selection("4f0b")
    selection = engine(tmp_path, "snapshot = 4f0b", {options.RESTORE_FROM_DATE: "2026-11-20"}).selection
    assert selection.wanted == "latest"
    assert selection.not_after is not None


def test_without_a_scope_there_is_no_request_and_the_four_are_named(tmp_path: Path) -> None:
    nothing = engine(tmp_path, "")
    for make in (nothing.backup_request, nothing.restore_request):
        with pytest.raises(UsageError, match="single-volume-id, all-tenant-volumes, all-tenants, consistency-groups"):
            make()


def test_a_backups_request_has_all_that_was_said(tmp_path: Path) -> None:
    request = engine(
        tmp_path, "all-tenants = yes\nmode = files\ntag = a, b\ncold = yes\nrecreate-vol-on-error = yes"
    ).backup_request()
    assert (request.scope.kind, request.mode, request.tags) == (ScopeKind.ALL_PROJECTS, BackupMode.FILES, ("a", "b"))
    assert (request.cold, request.recreate_on_error) == (True, True)


def test_a_restores_request_has_all_that_was_said(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "single-volume-id = v\nmeta-override = yes\nverify = yes\ndelete-extra = yes\nto-cloud = spare\n"
        "to-project = 0a\nmap-type = ssd=nvme, hdd=sata\nmap-az = a=b\nrecreate-vol-on-error = yes",
    )
    request = settings.engine.restore_request()
    assert request.map_type == {"ssd": "nvme", "hdd": "sata"}
    assert request.map_az == {"a": "b"}
    assert (request.to_cloud, request.to_project) == ("spare", "0a")
    assert (request.meta_override, request.verify, request.delete_extra) == (True, True, True)
    assert (request.recreate_on_error, request.in_place, request.remove_old) == (True, False, False)
    assert settings.to_cloud is not None
    assert settings.to_cloud.cloud == "spare-backup"


def test_another_cloud_may_be_an_entry_of_clouds_yaml(tmp_path: Path) -> None:
    other = load(tmp_path, "to-cloud = elsewhere").to_cloud
    assert other is not None
    assert other.cloud == "elsewhere"


def test_what_removes_old_volumes_verifies(tmp_path: Path) -> None:
    request = engine(tmp_path, "single-volume-id = v\nremove-old-vol = yes").restore_request()
    assert (request.remove_old, request.verify) == (True, True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("single-volume-id = a, b\nsnapshot = 4f0b", "a snapshot's id is of one volume"),
        ("all-tenants = yes\nsnapshot = 4f0b", "a snapshot's id is of one volume"),
        ("consistency-groups = g\nexclude = v", "a group is restored whole"),
        ("single-volume-id = v\nin-place = yes\nremove-old-vol = yes", "in-place and remove-old-vol exclude"),
        ("single-volume-id = v\nin-place = yes\nto-project = 0a", "in-place is where the volume is"),
        ("single-volume-id = v\nin-place = yes\nto-cloud = spare", "in-place is where the volume is"),
        ("single-volume-id = v\nremove-old-vol = yes\nto-cloud = spare", "remove-old-vol is not for"),
    ],
)
def test_a_restore_that_contradicts_itself_is_no_request(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        engine(tmp_path, text).restore_request()
