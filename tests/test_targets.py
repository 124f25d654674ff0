"""How a target is named: passwords go nowhere."""

from __future__ import annotations

import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.targets import PASSWORD, read_spots, resolve, spots_json

DSN = "mysql://ann@db1:3307/shop?unix_socket=/run/s"


def test_the_password_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own first, then that of a variable's DSN, then the common variable; else the driver looks for one."""
    monkeypatch.delenv(PASSWORD, raising=False)
    assert (DSN, None) == resolve(DSN)
    monkeypatch.setenv("PLACE", "mysql://ann:p%40ss@db1:3307/shop?unix_socket=/run/s")
    assert (DSN, "p@ss") == resolve("env:PLACE")
    monkeypatch.setenv(PASSWORD, "other")
    assert (DSN, "p@ss") == resolve("env:PLACE")
    assert (DSN, "other") == resolve(DSN)
    assert (DSN, "own") == resolve(DSN, "own")


@pytest.mark.parametrize("target", ["mysql://ann:secret@db1/shop", "env:NOWHERE", "block:shop", "db1", "mysql://[", ""])
def test_what_names_no_target_is_refused_without_a_secret(target: str) -> None:
    """One line that holds no password."""
    with pytest.raises(InvalidInput) as refused:
        resolve(target)
    assert "secret" not in str(refused.value)


def test_places_of_rows_come_back_equal() -> None:
    """Keys of bytes among them."""
    spots = [("s.t", (1, "é", None, b"\0\xff", 1 << 63)), ("s.t", ())]

    assert spots == read_spots(spots_json(spots))
