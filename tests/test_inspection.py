"""The text of a survey: says what the survey says, fits the screen, and ends with a line to paste."""

from __future__ import annotations

from pathlib import Path
import shlex

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.backend import open as open_log
from dblog_tasks.errors import TruncatedLog
from dblog_tasks.inspection import inspect_text, sparkline, suspect_command
from dblog_tasks.survey import Obstacle, Survey, survey
from dblog_tasks.text import WIDTH


@given(st.lists(st.text(min_size=1), min_size=1), st.text(min_size=1), st.text())
def test_suspect_command_is_quoted_for_a_shell(urls: list[str], transaction: str, schema: str) -> None:
    """A shell gives the program exactly the words that were meant, whatever is in a name."""
    words = shlex.split(suspect_command(urls, "mysql", transaction, schema))

    place = words.index("--driver", 2 + len(urls))
    assert ["dblog", "plan", *urls] == words[:place]
    assert ["--driver", "mysql", "--transaction", transaction] == words[place : place + 4]
    assert (["--schema", schema] if schema else []) == words[place + 6 :]


@pytest.mark.parametrize("url", ["mysql://me:pass@db/shop", "s3://k:v@bucket/log", "https://host/log?X-Amz-Signature=0"])
def test_suspect_command_shows_no_secret(url: str) -> None:
    """What holds a password or a signature is left out of the line to paste; options name the environment."""
    line = suspect_command([url], "mysql", "1", url, ["secret=env:SECRET"])

    assert "dblog plan '***' --driver mysql --transaction 1 --out undo-1 --schema '***' --storage-option secret=env:SECRET" == line


def test_suspect_command_keeps_the_name_of_a_variable() -> None:
    """A password that is only named can be pasted as it is."""
    assert "mysql://me@db/shop?password=env:PW" in shlex.split(suspect_command(["log"], "mysql", "1", "mysql://me@db/shop?password=env:PW"))


def test_inspection_ends_with_a_line_to_paste(corpus: Path) -> None:
    """The last line plans the undo of a suspect: run as it is, it makes the plan."""
    with open_log("mysql", path=str(corpus / "shop" / "shop.00*")) as decoder:
        found = survey(decoder)
    lines = "".join(inspect_text(found, urls=["shop.00*"], driver="mysql")).splitlines()

    assert "  " + suspect_command(["shop.00*"], "mysql", found.suspects[-1].found.transaction.id) == lines[-1]
    assert lines[0] == f"log      shop, {found.first} to {found.last}"
    assert [line for line in lines if len(line) > WIDTH and not line.startswith(("  dblog plan", " " * 15))] == []


def test_inspection_of_a_cut_log_ends_with_the_error() -> None:
    """All that is known is shown first; then the error is raised, so that a script sees it."""
    pieces = inspect_text(Survey(problem=TruncatedLog("cut", where="log.1:8")), urls=["log.1"], driver="mysql")

    assert "ENDS     log.1:8: cut\n" in [next(pieces) for _ in range(3)]
    with pytest.raises(TruncatedLog):
        list(pieces)


def test_inspection_shows_obstacles_with_their_fix() -> None:
    """A setting that made an undo impossible is told with its count and place."""
    found = Survey(obstacles=(Obstacle("partial row image", "SET GLOBAL binlog_row_image=FULL", 4, "log.1:8", ("s.t",)),))

    text = "".join(inspect_text(found))

    assert "  4 events: partial row image, first at log.1:8; s.t\n    SET GLOBAL binlog_row_image=FULL\n" in text


@pytest.mark.parametrize(
    ("values", "step", "expected"),
    [((), 1, ""), ((0, 0), 1, "  "), ((1, 0, 8), 1, "▁ █"), ((1, 1, 4, 4), 2, "▂█"), ((1, 1000), 1, "▁█")],
)
def test_sparkline(values: tuple[int, ...], step: int, expected: str) -> None:
    """The highest is full, what is there is seen, what is not is blank."""
    assert expected == sparkline(values, step)
