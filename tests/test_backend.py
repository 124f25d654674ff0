"""Registry, options and decoders: the contracts every backend lives by."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import sys
from threading import Event as CancelEvent
from typing import Any

import pytest

import dblog_tasks
from dblog_tasks import (
    BackendExists,
    BackendNotFound,
    Checkpoint,
    InvalidBackend,
    OpenOptions,
    Position,
    Registry,
    SeqDecoder,
    Source,
    cancel_of,
    checkpoint_of,
    events,
    position_of,
    source_of,
    start_position_of,
)
from dblog_tasks.backend import DefaultRegistry, open_options


class ListBackend:
    """A third party's backend: fits without inheriting."""

    def __init__(self, driver: str, *found: Any) -> None:
        self.driver = driver
        self.found = found
        self.options: OpenOptions | None = None

    def open(self, options: OpenOptions) -> SeqDecoder[Any]:
        """Return its events."""
        self.options = options
        return SeqDecoder(self.found)


def test_a_registered_backend_is_opened_by_its_driver() -> None:
    """One call adds a backend, one opens it."""
    registry = Registry()
    registry.register(ListBackend("list", 1, 2))

    found: list[Any] = list(registry.open("list"))

    assert [1, 2] == found


def test_the_first_backend_of_a_driver_stays() -> None:
    """A second one is refused by name."""
    registry, first = Registry(), ListBackend("list")
    registry.register(first)
    with pytest.raises(BackendExists, match="list"):
        registry.register(ListBackend("list"))

    assert registry.get("list") is first


@pytest.mark.parametrize("backend", [None, ListBackend("")])
def test_a_backend_without_a_driver_is_refused(backend: Any) -> None:
    """None, or an empty driver name."""
    with pytest.raises(InvalidBackend, match="empty driver"):
        Registry().register(backend)


def test_an_unknown_driver_is_not_found_and_the_known_ones_are_named() -> None:
    """Names are compared exactly."""
    registry = Registry()
    registry.register(ListBackend("list"))
    with pytest.raises(BackendNotFound, match=r"List.*known: list"):
        registry.open("List")


def test_a_built_in_driver_cannot_be_taken_over() -> None:
    """Also before the built-in backend was first used."""
    with pytest.raises(BackendExists):
        dblog_tasks.register(ListBackend("redis"))


def test_registering_from_many_threads_lets_one_win() -> None:
    """The registry is safe to use from several threads."""
    registry = Registry()

    def register(number: int) -> bool:
        try:
            registry.register(ListBackend("list", number))
        except BackendExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert [True] == [won for won in pool.map(register, range(64)) if won]


def test_an_installed_package_brings_a_backend_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is imported before its driver is asked for; an instance or a class will do."""
    metadata = tmp_path / "thirdparty-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dblog_tasks.backends]\ncsvlog = thirdparty_backend:Backend\n")
    (tmp_path / "thirdparty_backend.py").write_text(
        "from dblog_tasks import SeqDecoder\n"
        "class Backend:\n"
        "    driver = 'csvlog'\n"
        "    def open(self, options):\n"
        "        return SeqDecoder([options.path])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = DefaultRegistry()

    assert "csvlog" in registry.drivers()
    assert "thirdparty_backend" not in sys.modules
    opened: list[Any] = list(registry.open("csvlog", path="a.csv"))
    assert ["a.csv"] == opened


MINE, THEIRS = Source("mysql", "mine"), Source("mysql", "theirs")
PLACE = Checkpoint(THEIRS, Position("mysql", "b.000001:4"))


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({}, Source()),
        ({"checkpoint": PLACE}, THEIRS),
        ({"checkpoint": PLACE, "source": MINE}, MINE),
        ({"checkpoint": Checkpoint(position=PLACE.position), "source": MINE}, MINE),
        ({"checkpoint": None, "source": None}, Source()),
    ],
)
def test_a_checkpoint_fills_the_source_unless_one_is_given(given: dict[str, Any], source: Source) -> None:
    """None stands for "not given"."""
    assert source == open_options(**given).source


def test_empty_values_are_returned_for_nothing() -> None:
    """The accessors take None."""
    assert (Source(), Position(), Checkpoint()) == (source_of(None), position_of(None), checkpoint_of(None))
    assert Position() == start_position_of(None)
    assert [] == list(events(None))
    assert not cancel_of(None).is_set()


def test_the_cancel_event_of_the_options_is_given_back() -> None:
    """It is the caller's own."""
    cancel = CancelEvent()

    assert cancel_of(OpenOptions(cancel=cancel)) is cancel


def test_a_decoder_closes_once_however_often_it_is_asked() -> None:
    """Leaving the block closes it; closing again does nothing."""
    closed = []
    with SeqDecoder([1], lambda: closed.append(1)) as decoder:
        assert [1] == list(decoder)
    decoder.close()

    assert [1] == closed
    assert [] == list(SeqDecoder(None))


@pytest.mark.parametrize(
    "value", [Source("mysql", "shop"), Position("mysql", "b.000007:4523"), Checkpoint(MINE, Position("mysql", "b.1:4"), "f00")]
)
def test_values_survive_json(value: Any) -> None:
    """Written and read back they are equal."""
    assert value == type(value).from_json(value.to_json())


def test_everything_exported_exists_and_is_sorted() -> None:
    """The public names are the ones of `__all__`."""
    assert sorted(set(dblog_tasks.__all__)) == dblog_tasks.__all__
    assert all(hasattr(dblog_tasks, name) for name in dblog_tasks.__all__)
