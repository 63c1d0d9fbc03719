"""Which source counts, and what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from icebrick.config import options
from icebrick.config.option import Option
from icebrick.config.reference import configuration_page
from icebrick.config.settings import CacheSettings, Settings, load_settings
from icebrick.errors import UsageError

REFERENCE = Path(__file__).parents[3] / "docs/reference/configuration.md"

FILE = """
[repository:main]
location = /srv/main
password-file = /etc/main.password
upload-limit = 10M

[repository:other]
location = /srv/other

[cloud:prod]
cloud = prod-backup

[cinder-osbrick]
repository = main
"""


def load(
    tmp_path: Path,
    *,
    given: Mapping[Option[Any], str] | None = None,
    environment: Mapping[str, str] | None = None,
    text: str = FILE,
) -> Settings:
    path = tmp_path / "icebrick.conf"
    path.write_text(text)
    return load_settings(given or {}, environment or {}, file=path)


def origin(settings: Settings, option: Option[Any]) -> str:
    return next(each.origin for each in settings.resolved if each.option is option)


def test_the_named_default_repository_counts(tmp_path: Path) -> None:
    repository = load(tmp_path).repository
    assert (str(repository.location), repository.upload_limit) == ("local:/srv/main", 10 << 20)


def test_the_environment_counts_more_than_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, environment={"RESTIC_REPOSITORY": "/env"})
    assert str(settings.repository.location) == "local:/env"
    assert origin(settings, options.REPOSITORY_LOCATION) == "environment RESTIC_REPOSITORY"


def test_the_command_line_counts_more_than_the_environment(tmp_path: Path) -> None:
    settings = load(tmp_path, given={options.REPOSITORY_LOCATION: "/line"}, environment={"RESTIC_REPOSITORY": "/env"})
    assert str(settings.repository.location) == "local:/line"
    assert origin(settings, options.REPOSITORY_LOCATION) == "command line --repo"


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    assert str(load(tmp_path, environment={"RESTIC_REPOSITORY": ""}).repository.location) == "local:/srv/main"


def test_a_location_given_outright_takes_no_password_file_from_a_section(tmp_path: Path) -> None:
    settings = load(tmp_path, given={options.REPOSITORY_LOCATION: "/line"})
    assert settings.repository.password_file is None


def test_a_sections_name_stands_for_the_section(tmp_path: Path) -> None:
    settings = load(tmp_path, given={options.REPOSITORY_LOCATION: "other"}, environment={"RESTIC_REPOSITORY": "/env"})
    assert str(settings.repository.location) == "local:/srv/other"


def test_the_only_section_counts_without_being_named(tmp_path: Path) -> None:
    assert load(tmp_path).cloud.cloud == "prod-backup"


def test_of_several_sections_none_counts_without_being_named(tmp_path: Path) -> None:
    text = "[repository:a]\nlocation = /a\n[repository:b]\nlocation = /b\n"
    assert load(tmp_path, text=text).repository.location is None


def test_a_default_that_names_no_section_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no section \[repository:gone\]"):
        load(tmp_path, text="[cinder-osbrick]\nrepository = gone\n")


def test_a_password_file_of_the_environment_counts_more_than_its_password(tmp_path: Path) -> None:
    settings = load(tmp_path, environment={"RESTIC_PASSWORD_FILE": "/p", "RESTIC_PASSWORD": "geheim"})
    assert (settings.repository.password_file, settings.repository.password) == (Path("/p"), None)


def test_a_password_of_the_environment_counts_more_than_a_password_file_of_the_file(tmp_path: Path) -> None:
    repository = load(tmp_path, environment={"RESTIC_PASSWORD": "geheim"}).repository
    assert repository.password_file is None
    assert repository.password is not None
    assert repository.password.reveal() == "geheim"


def test_secrets_are_masked(tmp_path: Path) -> None:
    settings = load(tmp_path, environment={"RESTIC_PASSWORD": "geheim"})
    assert "geheim" not in repr(settings) + "".join(each.shown for each in settings.resolved)


def test_a_bad_value_of_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown kind of repository location"):
        load(tmp_path, environment={"RESTIC_REPOSITORY": "gopher:x"})


def test_what_a_medium_is_told_comes_from_all_sources(tmp_path: Path) -> None:
    given = {options.BACKEND_OPTIONS: "sftp.args=-o Ciphers=aes128-ctr,aes256-ctr,sftp.port=22"}
    environment = {"RESTIC_CACERT": "/ca.pem", "AWS_ACCESS_KEY_ID": "key"}
    text = "[repository:main]\nlocation = /srv\nclient-certificate = /client.pem\noption = s3.region=x\n"
    backend = load(tmp_path, given=given, environment=environment, text=text).repository.backend
    assert backend.values == {"sftp.args": "-o Ciphers=aes128-ctr,aes256-ctr", "sftp.port": "22"}
    assert (backend.ca_file, backend.client_certificate) == (Path("/ca.pem"), Path("/client.pem"))
    assert backend.environment["AWS_ACCESS_KEY_ID"] == "key"


def test_the_environment_for_a_medium_is_not_shown(tmp_path: Path) -> None:
    assert "geheim" not in repr(load(tmp_path, environment={"AWS_SECRET_ACCESS_KEY": "geheim"}))


def test_there_is_a_cache_unless_it_is_refused(tmp_path: Path) -> None:
    assert load(tmp_path, environment={"RESTIC_CACHE_DIR": "/c"}).repository.cache == CacheSettings(Path("/c"), 4 << 30)
    assert load(tmp_path, given={options.CACHE: "no"}).repository.cache is None


def test_sizes_are_shown_as_they_would_be_written(tmp_path: Path) -> None:
    shown = {each.option: each.shown for each in load(tmp_path).resolved}
    assert (shown[options.UPLOAD_LIMIT], shown[options.CACHE_SIZE]) == ("10M", "4G")


def test_the_state_directory_of_a_file_counts(tmp_path: Path) -> None:
    assert load(tmp_path, text="[agent]\nstate-dir = /var/x\n").agent.state_dir == Path("/var/x")


def test_every_option_is_resolved_or_chooses_a_section(tmp_path: Path) -> None:
    resolved = {each.option for each in load(tmp_path).resolved}
    assert set(options.OPTIONS) - resolved == {options.ENGINE_REPOSITORY, options.ENGINE_CLOUD}


def test_the_reference_page_is_up_to_date() -> None:
    assert REFERENCE.read_text("utf-8") == configuration_page(), "run 'make docs'"


def test_the_default_state_directory_is_shown_as_it_is(tmp_path: Path) -> None:
    settings = load(tmp_path, environment={"HOME": "/home/anna", "XDG_STATE_HOME": "/home/anna/state"})
    shown = next(each for each in settings.resolved if each.option is options.STATE_DIR)
    assert (shown.shown, shown.origin) == (str(settings.agent.state_dir), "default")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("my-ip = 192.0.2.1\nmultipath = yes", ("192.0.2.1", True, False)),
        ("my_ip = 2001:db8::1\nenforce_multipath = True", ("2001:db8::1", False, True)),
    ],
)
def test_how_volumes_are_attached_can_be_set(tmp_path: Path, line: str, value: tuple[str, bool, bool]) -> None:
    agent = load(tmp_path, text=f"[agent]\n{line}\n").agent
    assert (agent.my_ip, agent.multipath, agent.enforce_multipath) == value


PROJECT_ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
OF_PROJECTS = (
    "[repository:main]\nlocation = /srv/{project_id}/vols\npassword-file = /etc/icebrick/{project_id}.password\n"
)


def test_a_projects_repository_and_password_file_are_its_own(tmp_path: Path) -> None:
    repository = load(tmp_path, text=OF_PROJECTS).repository
    assert repository.is_of_projects
    filled = repository.for_project(PROJECT_ID)
    assert str(filled.location) == f"local:/srv/{PROJECT_ID}/vols"
    assert filled.password_file == Path(f"/etc/icebrick/{PROJECT_ID}.password")
    assert not filled.is_of_projects


def test_a_password_file_alone_may_be_a_projects_own(tmp_path: Path) -> None:
    text = OF_PROJECTS.replace("/srv/{project_id}", "/srv/all")
    assert load(tmp_path, text=text).repository.for_project("0a").password_file == Path("/etc/icebrick/0a.password")


def test_a_projects_repository_without_a_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one for each project, and no project is known") as caught:
        load(tmp_path, text=OF_PROJECTS).repository.for_project(None)
    assert caught.value.hint == "Name it with --project-id."


def test_one_repository_for_all_needs_no_project(tmp_path: Path) -> None:
    repository = load(tmp_path).repository
    assert repository.for_project(None) is repository
    assert not repository.is_of_projects


@pytest.mark.parametrize("project_id", ["", "..", "../x", "a/b", "{project_id}", "0a\n", "default"])
def test_what_is_no_projects_id_does_not_come_into_a_path(tmp_path: Path, project_id: str) -> None:
    with pytest.raises(UsageError, match="is not a project's id"):
        load(tmp_path, text=OF_PROJECTS).repository.for_project(project_id)
    with pytest.raises(UsageError, match=r"--project-id: .* is not a project's id"):
        load(tmp_path, given={options.PROJECT_ID: project_id}, text=OF_PROJECTS)
