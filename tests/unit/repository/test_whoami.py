from __future__ import annotations

import getpass

import pytest

from icebrick.repository.whoami import current_user


def test_the_user_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    assert current_user() == "alice"


@pytest.mark.parametrize("error", [KeyError("no such uid"), OSError("no username set")])
def test_a_user_without_a_name_is_no_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", fail)
    assert current_user() == ""
