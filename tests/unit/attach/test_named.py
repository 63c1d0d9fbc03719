"""What connections of Cinder's drivers say of the devices that they lead to."""

from __future__ import annotations

from typing import Any

import pytest

from icebrick.attach.named import Namespace, Unit, addresses_of, check_name, check_volume, namespace_of, units_of
from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError

ONE, OTHER = "11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"
IQN = "iqn.2010-10.org.openstack:volume-1"


def info(kind: str, **data: Any) -> ConnectionInfo:
    return ConnectionInfo(kind, data, ONE)


def test_a_connection_to_another_volume_is_refused() -> None:
    with pytest.raises(AttachError, match=f"asked for volume {ONE}.*volume {OTHER}"):
        check_volume(info("iscsi", volume_id=OTHER))


@pytest.mark.parametrize("told", [ONE, ONE.upper(), None, 1, "vol-17", ""])
def test_what_names_the_volume_or_is_no_id_of_cinders_is_accepted(told: object) -> None:
    check_volume(info("iscsi", volume_id=told))


def test_a_file_with_the_name_of_another_volume_is_refused() -> None:
    check_name(info("local"), f"/pool/volume-{ONE}")
    check_name(info("local"), "/dev/drbd1000")
    with pytest.raises(AttachError, match="the storage showed"):
        check_name(info("local"), f"/pool/volume-{OTHER}")


@pytest.mark.parametrize(
    ("connection", "units"),
    [
        (info("iscsi", target_iqn=IQN, target_lun=1), {Unit(IQN, 1)}),
        (info("iser", target_iqn=IQN.upper(), target_lun="1"), {Unit(IQN, 1)}),
        (
            info("iscsi", target_iqn=IQN, target_lun=1, target_iqns=[IQN, "iqn.b"], target_luns=[1, 2]),
            {Unit(IQN, 1), Unit("iqn.b", 2)},
        ),
        (info("iscsi", target_iqn=IQN, target_lun=0x4000 + 300), {Unit(IQN, 300)}),
        (info("fibre_channel", target_wwn="0x50060160BEA00001", target_lun=3), {Unit("50060160bea00001", 3)}),
        (info("fibre_channel", target_wwn=["a", "b"], target_lun=3), {Unit("a", 3), Unit("b", 3)}),
        (
            info("fibre_channel", target_wwns=["a", "b"], target_luns=[3, 4], target_wwn="a", target_lun=3),
            {Unit("a", 3), Unit("b", 4)},
        ),
        (info("rbd", name="volumes/volume-1"), set()),
    ],
)
def test_units_are_those_that_the_connection_lists(connection: ConnectionInfo, units: set[Unit]) -> None:
    assert units_of(connection) == units


def test_a_number_that_is_none_is_an_attach_error() -> None:
    with pytest.raises(AttachError, match="number of a logical unit"):
        units_of(info("iscsi", target_iqn=IQN, target_lun="first"))


def test_a_namespace_is_known_by_its_ids_however_they_are_written() -> None:
    connection = info("nvmeof", target_nqn="nqn.a", vol_uuid=ONE.upper(), volume_nguid="0x6000-ABCD")
    assert namespace_of(connection) == Namespace("nqn.a", ONE.replace("-", ""), "6000abcd")
    assert namespace_of(info("nvmeof", vol_uuid=ONE, volume_replicas=[{}])) is None
    assert namespace_of(info("iscsi")) is None


@pytest.mark.parametrize(
    "connection",
    [
        info("iscsi", target_iqn=IQN, target_lun=1),
        info("nvmeof", nqn="nqn.a", vol_uuid=ONE),
        info("local", device_path="/dev/loop1"),
    ],
)
def test_connections_to_the_same_place_have_an_address_in_common(connection: ConnectionInfo) -> None:
    same = ConnectionInfo(connection.driver_volume_type, {**connection.data, "auth_password": "other"}, OTHER)
    assert addresses_of(connection) & addresses_of(same)
    assert not addresses_of(connection) & addresses_of(info("iscsi", target_iqn="iqn.c", target_lun=1))


def test_of_storage_that_is_not_known_there_is_no_address() -> None:
    assert addresses_of(info("rbd", name="volumes/volume-1")) == frozenset()
