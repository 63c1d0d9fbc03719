"""Where files go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebrick.backend.base import FileType, Handle
from icebrick.backend.layout import directories, handle_of, is_temporary, path_of

ID = "ab" + "0" * 62
NAMED = [kind for kind in FileType if kind is not FileType.CONFIG]

ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
handles = st.builds(Handle, st.sampled_from(NAMED), ids) | st.just(Handle(FileType.CONFIG))


@pytest.mark.parametrize(
    ("handle", "path"),
    [
        (Handle(FileType.CONFIG), "config"),
        (Handle(FileType.KEY, ID), f"keys/{ID}"),
        (Handle(FileType.LOCK, ID), f"locks/{ID}"),
        (Handle(FileType.SNAPSHOT, ID), f"snapshots/{ID}"),
        (Handle(FileType.INDEX, ID), f"index/{ID}"),
        (Handle(FileType.PACK, ID), f"data/ab/{ID}"),
    ],
)
def test_paths_are_those_of_restics_default_layout(handle, path):
    assert path_of(handle) == path


@given(handles)
def test_a_path_leads_back_to_its_file(handle):
    assert handle_of(path_of(handle)) == handle


@given(handles)
def test_every_file_has_its_directory_among_those_of_a_new_repository(handle):
    assert path_of(handle).rpartition("/")[0] in {"", *directories()}


@given(st.text("abcdef0123456789/.", max_size=80))
def test_only_paths_of_files_lead_to_files(path):
    handle = handle_of(path)
    assert handle is None or path_of(handle) == path


@pytest.mark.parametrize("name", ["", "..", "../" * 20 + "etc/passwd", ID[1:], ID + "0", ID.upper(), ID + "\n"])
@pytest.mark.parametrize("kind", NAMED)
def test_a_name_that_is_no_id_has_no_path(kind, name):
    with pytest.raises(ValueError, match="not a name"):
        path_of(Handle(kind, name))


def test_the_config_takes_no_name():
    with pytest.raises(ValueError, match="not a name"):
        path_of(Handle(FileType.CONFIG, ID))


def test_a_new_repository_has_a_directory_for_each_first_byte_of_a_pack():
    made = list(directories())
    assert len(made) == len(set(made)) == 261
    assert made.index("data") < made.index("data/00")


@pytest.mark.parametrize("name", [f"{ID}-tmp-0a1b", f"{ID}-tmp-", "config-tmp-99"])
def test_names_of_unfinished_saves_are_known(name):
    assert is_temporary(name)


@pytest.mark.parametrize("name", [ID, "config", "notes-tmp-1", f"{ID}.tmp", f"x{ID}-tmp-1", "-tmp-1"])
def test_other_names_are_not_taken_for_unfinished_saves(name):
    assert not is_temporary(name)
