"""Compiled statements: byte for byte those of Python, whatever the plan holds. `test_sql` tells what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st
import orjson
import pytest

from dblog_tasks import part as parts, plan as plans
from dblog_tasks.errors import DblogError
from dblog_tasks.event import Column, Dependent, Position, Row, RowChanges, RowPair, Table, Transaction, Value, binary_columns
from dblog_tasks.mysql import native_sql
from dblog_tasks.mysql.literals import FORMS
from dblog_tasks.mysql.row_sql import SHAPES_MAX, Statements
from dblog_tasks.mysql.sql import INSERT_ROWS_MAX, STATEMENT_MAX, TransactionInfo, plan_script, undo_script
from dblog_tasks.plan import Plan, StoredSegment
from dblog_tasks.planning import PlanRequest, make_plan
from tests import fixtures
from tests.mysql.test_sql import VALUES, enum, keyed, members

pytest.importorskip("dblog_tasks.mysql._sql", reason="installed without compiled code")

CORPUS = Path(__file__).parent.parent / "corpus"
LOGS = sorted(path for path in CORPUS.rglob("*.0*") if path.is_file())
SCENARIOS = [name for name in fixtures.scenarios() if name.startswith(("mysql97/", "mariadb1011/")) and not name.endswith("/corrupt")]
ID = Column("id", "int")
NUMBERS = count()
DEPENDENTS = [(), (Dependent("s", "c", ("p",), ("id",)),), (Dependent("s", "t", ("c",), ("ID",)), Dependent("x", "c", ("p", "q")))]


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> Iterator[None]:
    """Compiled code is in use, whatever the environment says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBLOG_NATIVE", "1")
        yield


def line(value: Any) -> bytes:
    return parts.dumped(value)


def transaction_line(number: int, **facts: Any) -> bytes:
    log = Position("mysql", f"log.000001:{number}")
    found = Transaction(f"0-1-{number}", log, log, datetime(2026, 11, 23, tzinfo=UTC), (f"0-1-{number}",))
    return line({"transaction": number, **parts.transaction_json(found), **facts})


def step_line(number: int, transaction: int | None, table: Table, rows: Sequence[RowPair], of: int = 0) -> bytes:
    """A step as a plan holds it."""
    binary = binary_columns(table)
    packed = parts._packed(rows, binary)
    return line({"at": f"log.000001:{number}", "in": transaction, "of": of, "rows": packed})


def table_line(number: int, table: Table) -> bytes:
    return line({"table": number, **table.to_json()})


def segment(*lines: bytes) -> StoredSegment:
    found = plans._stored(b"".join(lines), {})
    assert found is not None
    return found


def expected_script(data: bytes) -> bytes:
    """Return what Python makes of the values of a segment, row by row."""
    tables: list[Table] = []
    transactions: list[Any] = []
    operations = []
    for raw in data.splitlines():
        try:
            read = orjson.loads(raw)
        except ValueError as error:
            raise plans.unreadable(error, "") from None
        if "table" in read:
            tables.append(Table.from_json(read))
        elif "transaction" in read:
            transactions.append(read)
        else:
            known = [(table, binary_columns(table)) for table in tables]
            operations.append((told(read, transactions), plans._operation(read, known, raw)))
    return "".join(undo_script(reversed(operations))).encode()


def told(step: Any, transactions: Sequence[Any]) -> TransactionInfo:
    if step["in"] is None:
        return TransactionInfo(step["at"])
    of = transactions[step["in"]]
    said = " ".join(of["statements"][0].split())[:STATEMENT_MAX] if of["statements"] else ""
    return TransactionInfo(of["id"], "; ".join(filter(None, (of["time"] and f"committed {of['time']}", of["start"], said))))


def outcome(write: Any) -> bytes | str:
    """The script, or the error there is instead."""
    try:
        found: bytes = write()
    except (DblogError, ValueError, LookupError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}" if isinstance(error, DblogError) else type(error).__name__
    return found


def same(*lines: bytes) -> bytes | str:
    """Check that compiled code and Python make one of these lines; return it."""
    data = b"".join(lines)
    expected = outcome(lambda: expected_script(data))
    assert expected == outcome(lambda: b"".join(plan_script([segment(data)])))
    return expected


def pairs_of(column: Column, *values: Value) -> list[RowPair]:
    """Every kind of change with these values."""
    rows: list[Row] = [(number, value) for number, value in enumerate(values)]
    return [*((None, row) for row in rows), *((row, (1, other)) for row in rows for _, other in rows), *((row, None) for row in rows)]


def alone(table: Table, *changes: Sequence[RowPair]) -> bool:
    """Whether compiled code writes these by itself."""
    steps = [step_line(number, 0, table, rows) for number, rows in enumerate(changes)]
    found = segment(transaction_line(0), table_line(0, table), *steps)
    left = len(steps)
    while left:
        done = native_sql.undo(found.data, found.places, left, (b"T",), (Statements(table).compiled,), b"T")
        if done.odd:
            return False
        left = done.left
    return True


def by_itself(rows: Sequence[RowPair]) -> list[Sequence[RowPair]]:
    """Rows of an event are of one kind; what is deleted, inserted or updated is one event here."""
    kinds: dict[tuple[bool, bool], list[RowPair]] = {}
    for before, after in rows:
        kinds.setdefault((before is None, after is None), []).append((before, after))
    return list(kinds.values())


@pytest.mark.parametrize(("column", "value", "written", "condition"), VALUES)
def test_every_kind_of_value_is_written_by_compiled_code(column: Column, value: Value, written: str, condition: str) -> None:
    """As a new value, an old one and a key; only an enum's error value is left to Python."""
    events = by_itself(pairs_of(column, value, None))
    tables = [keyed(column), Table("s", "t", (ID, column)), Table("s", "t", (ID, column), (1,)), Table("s", "t", (ID, column), (0, 1))]

    for table in tables:
        same(transaction_line(0), table_line(0, table), *(step_line(number, 0, table, rows) for number, rows in enumerate(events)))
        assert alone(table, *events) == (not (column.type == "enum" and value == 0))


CHARSETS = ("utf8mb4", "utf8mb3", "latin1", "ucs2", "sjis", "gbk", "binary", "")
COLUMNS = [
    *(Column("c", kind, charset=charset) for kind in FORMS for charset in CHARSETS if kind not in ("enum", "set") or charset != "binary"),
    *(Column("c", kind, generated=True) for kind in ("int", "timestamp", "blob")),
    *(Column("c", kind, auto_update=flag) for kind in ("timestamp", "datetime(3)", "int") for flag in (True, False)),
    enum("a", "it's", "é"),
    enum("a", "A"),
    enum("a", "b", charset="binary"),
    enum("é", charset="latin1"),
    members("x", "y's", "日"),
    members("é", "y", charset="latin1"),
    members(*map(str, range(64))),
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(
    "'\\\n\r\0\x1a\t\x1b\x7f\x85\xa0a\"/\b\f;-é日😀", max_size=40
)
INTEGERS = (
    st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(0, 4) | st.integers() | st.sampled_from([-(1 << 63), (1 << 64) - 1, 1 << 64])
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, -0.0, 5e-324, 1e16, 1e15, 123456789012345.0, 0.0001, 0.00001, 1e22, 1.7976931348623157e308, 0.1, 1.5, -2.25]
)
DECIMALS = st.from_regex(r"-?\d{1,20}(\.\d{1,10})?", fullmatch=True) | st.sampled_from(["", "-", ".5", "5.", "1e5", "nan", "--1", "1.2.3"])
DIGITS = st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str)
ANYTHING = st.none() | INTEGERS | FLOATS | TEXTS | DECIMALS | DIGITS | st.binary(max_size=30) | st.sampled_from([b"\x04\x00", "2024-01-01"])
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "int": INTEGERS, "bigint": INTEGERS, "bit": INTEGERS, "enum": st.integers(0, 3), "set": st.integers(0, 7), "double": FLOATS,
    "float": FLOATS, "decimal": DIGITS, "varchar": TEXTS | st.binary(max_size=9), "text": TEXTS, "blob": st.binary(max_size=40),
    "json": TEXTS | st.just(bytes.fromhex("0ff60402018105")), "datetime": TEXTS, "timestamp": TEXTS, "geometry": st.binary(max_size=20),
}  # fmt: skip


def fitting(column: Column) -> st.SearchStrategy[Any]:
    """Values of a column, and now and then anything."""
    if column.charset == "binary" and not column.labels:
        return st.none() | st.binary(max_size=40)
    kind = column.type.partition("(")[0]
    return st.none() | FITTING[kind] if kind in FITTING else ANYTHING


@st.composite
def tables(draw: st.DrawFn, columns: st.SearchStrategy[Column]) -> Table:
    """A table of some columns, with or without a key."""
    chosen = draw(st.lists(columns, min_size=1, max_size=5))
    named = [Column(**{**plans_column(column), "name": f"c{at}`"}) for at, column in enumerate(chosen)]
    key = draw(st.sampled_from([(), (0,), (0, 1)]))
    return Table("s", draw(st.sampled_from(["t", "u's"])), (ID, *named), key, draw(st.sampled_from(DEPENDENTS)))


def plans_column(column: Column) -> dict[str, Any]:
    return column._asdict()


@st.composite
def changes(draw: st.DrawFn, table: Table) -> list[RowPair]:
    """Rows of one kind, whose values are often the same before and after."""
    rows = st.tuples(st.integers(0, 3), *map(fitting, table.columns[1:]))
    kind = draw(st.integers(0, 2))
    found: list[RowPair] = []
    for before, after, kept in draw(st.lists(st.tuples(rows, rows, st.integers(0, 63)), min_size=1, max_size=4)):
        mixed = tuple(value if kept >> at & 1 else after[at] for at, value in enumerate(before))
        found.append(((None, mixed), (before, None), (before, mixed))[kind])
    return found


@st.composite
def segments(draw: st.DrawFn) -> list[bytes]:
    """Lines of a segment: transactions of steps, over two tables."""
    known = draw(st.lists(tables(st.sampled_from(COLUMNS)), min_size=1, max_size=2))
    lines = [table_line(number, table) for number, table in enumerate(known)]
    for number in range(draw(st.integers(1, 3))):
        facts: dict[str, Any] = draw(
            st.sampled_from([{}, {"time": None}, {"statements": ("DELETE  FROM\tt\x1b", "x")}, {"id": "a  b", "names": ("]",)}])
        )
        lines.append(transaction_line(number, **facts))
        for _ in range(draw(st.integers(1, 3))):
            of = draw(st.integers(0, len(known) - 1))
            inside = draw(st.sampled_from([number, number, number, None]))
            lines.append(step_line(len(lines), inside, known[of], draw(changes(known[of])), of))
    return lines


@given(segments())
@settings(max_examples=100)
def test_any_rows_are_written_the_same(lines: list[bytes]) -> None:
    """Values of every type and character set, fitting or not, in transactions over several tables."""
    same(*lines)


@given(segments(), st.data())
@settings(max_examples=150)
def test_damaged_lines_are_written_the_same_or_refused(lines: list[bytes], data: st.DataObject) -> None:
    """Wrong bytes in a step, as another writer of plans might leave them, end in the same script or the same error."""
    steps = [number for number, found in enumerate(lines) if found.startswith(b'{"at"')]
    number = data.draw(st.sampled_from(steps))
    whole = lines[number][:-1]
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(9, len(whole)))
        wrong = data.draw(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=2).filter(lambda found: not set(found) & set(b"\r\n")))
        whole = whole[:at] + wrong + whole[at + data.draw(st.integers(0, 2)) :]
    damaged = b"".join([*lines[:number], whole + b"\n", *lines[number + 1 :]])
    expected, actual = outcome(lambda: expected_script(damaged)), outcome(lambda: b"".join(plan_script([segment(damaged)])))

    # Of several steps that are refused, which one is named depends on the order they are read in.
    assert expected == actual or (isinstance(expected, str) and isinstance(actual, str))


PIECES = [
    b"", b"0", b"-0", b"-", b".", b"1.0", b"1e5", b"1.50", b"00", b"1e999", b"true", b"null", b'"', b"''", b"'", b"\\", b'\\"', b"\\/",
    b"\\u0041", b"\\u0000", b"\\u001a", b"\\u001A", b"\\ud83d\\ude00", b"\\ud800", b"\\b", b"\\u0008", b"\\n", b"\xc3\xa9", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xf0\x9f\x98\x80", b"\xc2\x85", b"\x7f", b"\x01",
    b"[", b"]", b",", b" ", b"{", b"}", b'{"base64":"QQ=="}',
    b'{"base64":"QR=="}', b'{"base64":"QQ"}', b'{"integer":"0x10"}', b'"QQ=="', b'"QR=="', b'"="', b"18446744073709551616", b"[]", b"]]",
]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"), [("0.0", "-0.0"), ("1.5", "1.50"), ("1.0", "1"), ("15e-1", "1.5"), ("0", "-0"), ("1e400", "1.5")]
)
@pytest.mark.parametrize("kind", ["double", "int", "enum", "set", "decimal"])
def test_one_number_in_two_ways_is_what_python_takes_it_for(kind: str, one: str, other: str) -> None:
    """Whether a column changed is a question of values."""
    table = keyed(
        Column("c", kind, charset="utf8mb4" if kind in ("enum", "set") else "", labels=("a", "b") if kind in ("enum", "set") else ())
    )
    for first, second in ((one, other), (other, one), (one, one), (other, other)):
        rows = f'{{"at":"l:1","in":0,"of":0,"rows":[[[1,{first}],[1,{second}]]]}}\n'.encode()
        same(transaction_line(0), table_line(0, table), rows)


def test_inserts_join_across_steps_and_segments() -> None:
    """What waits for its INSERT does so whoever has written the rows, until it is full or something else comes."""
    table, other = keyed(enum("a")), Table("s", "u", (ID,), (0,))
    deleted = [[((number, step % 7 and 1), None) for number in range(step % 90 + 1)] for step in range(60)]
    steps = [step_line(number, number // 20, table, rows) for number, rows in enumerate(deleted)]
    steps.insert(30, step_line(99, 1, other, [((5,), None)], 1))
    found = same(*(transaction_line(number) for number in range(3)), table_line(0, table), table_line(1, other), *steps)
    halves = [
        segment(*(transaction_line(n) for n in range(3)), table_line(0, table), table_line(1, other), *half)
        for half in (steps[:7], steps[7:])
    ]

    assert isinstance(found, bytes)
    assert f"ROW_COUNT()={INSERT_ROWS_MAX}".encode() in found
    assert found == b"".join(plan_script(reversed(halves)))


def test_more_kinds_of_updates_than_are_kept_are_written_all_the_same() -> None:
    """What is prepared for each set of changed columns is bounded here too."""
    width = 12
    table = Table("s", "t", (ID, *(Column(f"c{number}", "int") for number in range(width))), (0,))
    rows = [((1, *(mask >> bit & 1 for bit in range(width))), (1, *[0] * width)) for mask in range(SHAPES_MAX + 200)]
    same(transaction_line(0), table_line(0, table), step_line(1, 0, table, rows))
    shapes = Statements(table).compiled[1]
    for mask in range(SHAPES_MAX + 200):
        assert shapes[bytes([0, *(mask >> bit & 1 for bit in range(width))])]

    assert len(shapes) <= SHAPES_MAX


def test_a_script_larger_than_a_piece_comes_in_pieces() -> None:
    """No step is lost where one piece ends and the next begins."""
    table = keyed(Column("c", "varchar(2000)", charset="utf8mb4"))
    steps = [step_line(number, number % 2, table, [(None, (number, "x'" * 1000))]) for number in range(1000)]
    lines = [transaction_line(0), transaction_line(1), table_line(0, table), *steps]
    same(*lines)

    assert 5 < len(list(plan_script([segment(*lines)]))) < 50


@pytest.mark.parametrize("native", ["1", "0"])
def test_a_segment_that_is_not_written_as_ours_is_read_by_its_values(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces and another order of keys are JSON as well."""
    monkeypatch.setenv("DBLOG_NATIVE", native)
    table = keyed(Column("c", "int"))
    plain = transaction_line(0) + table_line(0, table) + step_line(1, 0, table, [(None, (1, 2))])
    rows = b'{"in":0,"at":"log.000001:1","of":0,"rows":[[null,[1, 2]]]}\n'
    strange = b" " + transaction_line(0) + table_line(0, table) + rows
    read = plans._read_already(list(Plan("", {"driver": "mysql", "source": {"driver": "mysql", "name": ""}})._steps_in(strange)))

    assert plans._stored(strange, {}) is None
    assert plans._stored(plain[:-1], {}) is None
    assert plans._stored(plain.replace(b"\n", b"\r\n"), {}) is None
    assert expected_script(plain) == b"".join(plan_script([read])) == b"".join(plan_script([segment(plain)]))


def script_of(plan: Plan) -> bytes:
    """The script of a plan by Python alone, from its steps."""

    def operations() -> Iterable[tuple[TransactionInfo, RowChanges]]:
        for step in plan.steps():
            of = step.transaction and parts.transaction_json(step.transaction)
            yield told({"in": None if of is None else 0, "at": step.checkpoint.position.value}, [of]), step.operation

    return "".join(undo_script(operations())).encode()


def check_plan(logs: Sequence[Path], out: str, monkeypatch: pytest.MonkeyPatch, schema: str = "") -> None:
    plan = make_plan(PlanRequest("mysql", tuple(map(str, logs)), out=out, on_damage="salvage", schema=schema))
    assert plan is not None
    scripts = []
    for native in ("1", "0"):
        monkeypatch.setenv("DBLOG_NATIVE", native)
        scripts.append(b"".join(plan_script(plan.stored_segments())))
    assert scripts[0] == scripts[1]
    if not any(step.operation.carried for step in plan.steps()):  # those have an order of their own: see test_carried
        assert script_of(plan) == scripts[0]


@pytest.mark.parametrize("log", LOGS, ids=lambda log: str(log.relative_to(CORPUS)))
def test_the_script_of_a_log_is_the_same_with_and_without_compiled_code(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs of real servers, with every type they have."""
    check_plan([log], f"memory://native_sql/{next(NUMBERS)}", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS or [pytest.param("", marks=pytest.mark.skip(reason=fixtures.NOT_HERE))])
def test_the_script_of_a_scenario_is_the_same_with_and_without_compiled_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long logs of servers of several versions; with a schema, so that every one of them has column names."""
    folder = fixtures.unpack(name, tmp_path)
    assert folder is not None
    logs = sorted(path for path in folder.iterdir() if path.suffix[1:].isdigit())
    schemas = sorted(folder.glob("*.schema.sql"))
    check_plan(logs, str(tmp_path / "plan"), monkeypatch, str(schemas[0]) if schemas else "")
