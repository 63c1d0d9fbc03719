"""A secret shows itself only to those who ask for it by name."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from dataclasses import dataclass

import pytest

from icebrick.secret import Secret

SECRET = Secret("geheim")


@dataclass(frozen=True)
class Holder:
    """As the settings hold theirs."""

    password: Secret


@pytest.mark.parametrize(
    "text",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        f"{SECRET!r:>20}",
        "".join(map(str, [SECRET])),
        repr(Holder(SECRET)),
        repr([SECRET]),
    ],
)
def test_whatever_prints_it_prints_stars(text: str) -> None:
    assert "geheim" not in text
    assert "***" in text


def test_it_is_revealed_when_it_is_asked_for() -> None:
    assert SECRET.reveal() == "geheim"


def test_a_log_line_does_not_have_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("icebrick").warning("logging in password=%s holder=%r", SECRET, Holder(SECRET))
    assert "geheim" not in caplog.text


def test_a_traceback_of_an_error_about_it_does_not_have_it() -> None:
    with pytest.raises(ValueError, match=r"\*\*\*") as caught:
        raise ValueError(f"cannot use {SECRET}")
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_copies_are_the_same_secret() -> None:
    assert copy.deepcopy(SECRET) == SECRET
    assert pickle.loads(pickle.dumps(SECRET)) == SECRET
