"""The files of a devcloud: what is written is found again, and kept from others."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from icebrick.devcloud.accounts import USERS, clouds_yaml, seed_content
from icebrick.devcloud.conffiles import cinder_conf, keystone_conf, nova_conf, placement_conf
from icebrick.devcloud.faults import Fault, read_operations, release, set_faults, wait_held
from icebrick.devcloud.layout import Layout, layout_of, write_private
from icebrick.devcloud.record import ProcessId, Record, Settings, find_record, save_record
from icebrick.errors import DevcloudError, UsageError
from icebrick.secret import Secret

PASSWORD = "pass%word: '#$"
RECORD = Record(Settings(page_size=7), 5000, 8776, Secret(PASSWORD), ProcessId(12, 34))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layout_of(tmp_path)


@pytest.mark.parametrize("record", [RECORD, replace(RECORD, owner=None), replace(RECORD, nova_port=8774)])
def test_a_record_is_found_as_it_was_saved(layout: Layout, record: Record) -> None:
    save_record(layout, record)
    assert find_record(layout) == record


def test_no_record_is_none(layout: Layout) -> None:
    assert find_record(layout) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"settings": {"color": "red"}}'])
def test_a_damaged_record_is_an_error_with_its_path(layout: Layout, text: str) -> None:
    layout.record.write_text(text)
    with pytest.raises(DevcloudError, match=r"devcloud\.json"):
        find_record(layout)


def test_a_record_that_cannot_be_read_is_an_error_with_its_path(layout: Layout) -> None:
    layout.record.mkdir()
    with pytest.raises(DevcloudError, match=r"cannot read .*devcloud\.json: Is a directory"):
        find_record(layout)


@pytest.mark.parametrize("name", ["a b", "a%b", "a?b", "a#b", "a$b", "a;b", "ä\n"])
def test_a_directory_whose_name_the_servers_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot use directory"):
        layout_of(tmp_path / name)


def test_a_symbolic_link_and_its_directory_are_one_devcloud(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert layout_of(tmp_path / "link") == layout_of(tmp_path / "real")


def test_a_private_file_is_for_its_owner_only_even_where_a_public_one_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o644)
    write_private(path, "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_user_has_a_cloud_with_the_password() -> None:
    clouds = yaml.safe_load(clouds_yaml(replace(RECORD, password=Secret("p-_w"))))["clouds"]
    assert set(clouds) == {"admin", *(user.name for user in USERS)}
    assert {cloud["auth"]["password"] for cloud in clouds.values()} == {"p-_w"}
    assert {cloud["region_name"] for cloud in clouds.values()} == {"RegionOne"}


def test_each_project_of_members_has_an_admin_a_member_and_a_reader() -> None:
    for project in ("alpha", "beta"):
        assert sorted(user.role for user in USERS if user.project == project) == ["admin", "member", "reader"]


def test_the_seed_has_the_password_itself() -> None:
    assert json.loads(seed_content(RECORD))["password"] == PASSWORD


def test_the_servers_are_configured_for_their_directory_and_ports(layout: Layout) -> None:
    cinder = cinder_conf(layout, RECORD, Path("/venv"))
    assert "osapi_volume_listen_port = 8776\n" in cinder
    assert "osapi_max_limit = 7\n" in cinder
    assert "auth_url = http://127.0.0.1:5000/v3\n" in cinder
    assert f"connection = sqlite:///{layout.directory}/keystone.db" in keystone_conf(layout, RECORD)


def test_nova_is_configured_for_its_directory_its_port_and_a_service_token(layout: Layout) -> None:
    nova = nova_conf(layout, replace(RECORD, nova_port=8774), Path("/venv"))
    assert "endpoint_template = http://127.0.0.1:8776/v3\n" in nova
    assert "endpoint = http://127.0.0.1:8774/placement\n" in nova
    assert "send_service_user_token = true\nauth_url = http://127.0.0.1:5000/v3\n" in nova
    assert f"connection = sqlite:///{layout.directory}/placement.db" in placement_conf(layout)


def test_new_faults_let_go_what_older_ones_hold(layout: Layout) -> None:
    old, new = Fault(action="wait"), Fault(action="wait")
    set_faults(layout, [old])
    set_faults(layout, [new])
    assert [hold.name for hold in layout.holds.iterdir()] == [new.id]


def test_a_released_fault_holds_nothing(layout: Layout) -> None:
    fault = Fault(action="wait")
    set_faults(layout, [fault])
    release(layout, fault)
    release(layout, fault)
    assert list(layout.holds.iterdir()) == []


def test_no_operations_are_read_before_there_is_a_log(layout: Layout) -> None:
    assert read_operations(layout) == []


def test_a_line_that_is_still_being_written_is_left_for_later(layout: Layout) -> None:
    line = {"time": 1.0, "operation": "create_volume", "phase": "start", "id": "v", "name": "n"}
    layout.operations.write_text(json.dumps(line) + "\n" + json.dumps(line)[:20])
    assert [operation.id for operation in read_operations(layout)] == ["v"]


def test_waiting_for_an_operation_that_never_comes_ends_with_an_error(layout: Layout) -> None:
    with pytest.raises(DevcloudError, match="no operation met fault"):
        wait_held(layout, Fault(), timeout=0)
