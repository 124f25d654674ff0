"""GTID sets: what servers print is read, equal sets are equal however they were written, membership is that of the numbers."""

from __future__ import annotations

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.mysql.gtid import MARIADB, MYSQL, parse

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4f22fb58-71ca-11e1-9e33-c80aa9429563"

READ = {
    f"{A}:1-5": f"{A}:1-5",
    f"{A}:5": f"{A}:5",
    f"{A}:1-5:7-9": f"{A}:1-5:7-9",
    f"{A}:7-9:1-5:6": f"{A}:1-9",
    f"{A.upper()}:1-5,\n{B}:3": f"{A}:1-5,{B}:3",
    f"{A}:1-5,\\n{B}:3": f"{A}:1-5,{B}:3",
    f" {B} : 3 , {A} : 1 - 5 : 7 ,": f"{A}:1-5:7,{B}:3",
    f"{A.replace('-', '')}:1": f"{A}:1",
    f"{A}:tag:1-3": f"{A}:tag:1-3",
    f"{A}:1-2:Tag_1:4:6-7:other:1,{A}:3": f"{A}:1-3,{A}:other:1,{A}:tag_1:4:6-7",
    f"{A}:9223372036854775806": f"{A}:9223372036854775806",
    "0-1-5": "0-1-5",
    "0-1-5..90": "0-1-5..90",
    "0-1-5..0-1-90": "0-1-5..90",
    "0-1-5 .. 90, 0-1-91,1-2-3\n": "0-1-5..91,1-2-3",
    "0-*-5..90": "0-*-5..90",
    "9-7-18446744073709551615": "9-7-18446744073709551615",
    "00-01-005": "0-1-5",
}


@pytest.mark.parametrize(("text", "expected"), READ.items(), ids=map(repr, READ))
def test_a_set_is_read_as_servers_and_people_write_it(text: str, expected: str) -> None:
    """The text of a set is the same for all that mean the same, and is read again."""
    found = parse(text)

    assert expected == found.text
    assert found == parse(found.text)
    assert (MYSQL if ":" in expected else MARIADB) == found.kind


REFUSED = (
    *("", " , \n", ":", "0", "0-1", "0-1-5-7", "0-1-", "-1-5", "0-1-5..", "0-1-9..5", "0-1-0", "0-*-5", "0-1-5..0-2-9", "0-1-5..1-1-9"),
    *("4294967296-1-1", "0-4294967296-1", "0-1-18446744073709551616", "0-1-5,x", f"0-1-5,{A}:1", f"{A}:1,0-1-5", "0-1-٣"),
    *(A, f"{A}:", f"{A}:tag", f"{A}:1:", f"{A}:1:tag", f"{A}:a:b:1", f"{A}:0", f"{A}:5-3", f"{A}:1 2", f"{A}:1-2-3", f"{A}:-1"),
    *(f"{A}:9223372036854775807", f"{A}:9-tag:1", f"{A}:{'t' * 33}:1", f"{A[:-1]}:1", f"x{A}:1", f"{A[:8]}{A[9:]}:1", f"{A}:1;{B}:1"),
)


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_set_is_refused_with_what_is(text: str) -> None:
    """The error says how a set is written."""
    with pytest.raises(InvalidInput, match=r"uuid:1-5:7-9 .*0-1-5"):
        parse(text)


def test_a_text_too_long_is_refused_unread() -> None:
    """More than any server's set."""
    with pytest.raises(InvalidInput, match="at most"):
        parse("0-1-5," * (1 << 20))


HELD = (
    (f"{A}:1-5:7", {f"{A}:1", f"{A}:5", f"{A}:7"}, {f"{A}:6", f"{A}:8", f"{B}:1", f"{A}:tag:1"}),
    (f"{A}:tag:1-3", {f"{A}:tag:3"}, {f"{A}:3", f"{A}:tag:4", f"{A}:other:3"}),
    ("0-1-5..90", {"0-1-5", "0-1-90"}, {"0-1-4", "0-1-91", "0-2-5", "1-1-5"}),
    ("0-*-5..90,1-1-1", {"0-1-5", "0-77-90", "1-1-1"}, {"0-1-91", "1-2-1"}),
)


@pytest.mark.parametrize(("text", "inside", "outside"), HELD)
def test_a_set_holds_what_it_says(text: str, inside: set[str], outside: set[str]) -> None:
    """Ends included; another tag, server or domain is another name."""
    found = parse(text)

    assert inside == {gtid for gtid in inside | outside if found.holds(gtid)}


@pytest.mark.parametrize(("text", "gtid"), [(f"{A}:1", "0-1-1"), ("0-1-1", f"{A}:1")])
def test_a_set_of_the_other_kind_of_server_is_an_error(text: str, gtid: str) -> None:
    """It would hold nothing, and rule out nothing, without a word."""
    with pytest.raises(InvalidInput, match="the log holds"):
        parse(text).holds(gtid)


INTERVALS = st.lists(st.tuples(st.sampled_from([A, B, f"{A}:tag"]), st.integers(1, 60), st.integers(0, 9)), min_size=1, max_size=12)


@given(INTERVALS)
def test_membership_is_that_of_the_numbers(intervals: list[tuple[str, int, int]]) -> None:
    """Overlapping, touching and in any order: the same as a set of all GTIDs."""
    expected = {f"{name}:{number}" for name, first, more in intervals for number in range(first, first + more + 1)}
    found = parse(",".join(f"{name}:{first}-{first + more}" for name, first, more in intervals))
    universe = {f"{name}:{number}" for name in (A, B, f"{A}:tag") for number in range(1, 75)}

    assert expected == {gtid for gtid in universe if found.holds(gtid)}
    assert found == parse(found.text)
    assert found.text == parse(",".join(sorted(expected))).text


@given(st.text(alphabet=f"{A} ,:-.*\n\\tag019", max_size=60) | st.text(max_size=40))
def test_any_text_is_a_set_or_a_declared_error(text: str) -> None:
    """Nothing else comes of it, and what is accepted is read again as the same."""
    try:
        found = parse(text)
    except InvalidInput:
        return

    assert found == parse(found.text)
