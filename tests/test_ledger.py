"""The ledger balances whatever is asked for, against a count of its own; and no line that counts can go without a test seeing it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
import inspect
from itertools import count
from pathlib import Path
import re
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

from dblog_tasks import ledger as words, storage
from dblog_tasks.event import Checkpoint, CommandChange, Position, RowChanges
from dblog_tasks.filters import by_table, not_
from dblog_tasks.ledger import Ledger
from dblog_tasks.mysql.selection import LACKS_COLUMN
from dblog_tasks.origin_filters import by_position
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan, selection

SHOP = Path(__file__).parent / "corpus" / "shop"
LOG = (SHOP / "shop.000001").read_bytes()
FOUND = SHOP.parent / "found"
PACKED = (FOUND / "packed-mysql97.000002").read_bytes()
ROLLED_BACK = (FOUND / "rolled-back-mariadb1011.000014").read_bytes()
MINIMAL = (FOUND / "images-mysql97.000001").read_bytes()
PREPARED = (FOUND / "xa-commit-mariadb1011.000004").read_bytes()[:863]
NUMBERS = count()


def command(*words: str) -> bytes:
    """Return a command as the append-only file has it."""
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


RECORDS = [command(*text.split()) for text in (
    "SELECT 0", "INCR a", "SET a 1", "RPUSH l x y", "MULTI", "SADD s 1", "INCR b", "EXEC", "INCR a", "MULTI", "INCR c", "SET d 1",
)]  # fmt: skip
AOF = b"".join(RECORDS)
# Of PostgreSQL's test_decoding. What transaction 2 did is committed after all of 3 and 5, what 5 did is rolled back, 6 is our own.
CHANGES = b"""BEGIN 1
table public.t: INSERT: a[integer]:1 b[text]:'one'
table public.u: INSERT: a[integer]:1 b[text]:'one'
COMMIT 1 (at 2026-11-23 10:00:00+00)
BEGIN 2
table public.t: UPDATE: old-key: a[integer]:1 b[text]:'one' new-tuple: a[integer]:1 b[text]:'two'
PREPARE TRANSACTION 'two', txid 2
BEGIN 3
table public.u: TRUNCATE: (no-flags)
table public.t: DELETE: a[integer]:2 b[text]:'two'
COMMIT 3 (at 2026-11-23 10:00:01+00)
BEGIN 5
table public.t: INSERT: a[integer]:5 b[text]:'five'
PREPARE TRANSACTION 'five', txid 5
ROLLBACK PREPARED 'five', txid 5
COMMIT PREPARED 'two', txid 2
BEGIN 6
table public.dblog_replay: INSERT: id[integer]:1
table public.t: INSERT: a[integer]:6 b[text]:'six'
COMMIT 6 (at 2026-11-23 10:00:02+00)
"""
PLAIN = b"".join(
    b"BEGIN %d\ntable public.t: INSERT: a[integer]:1\nCOMMIT %d (at 2026-11-23 10:00:00+00)\n" % (xid, xid) for xid in range(1, 6)
)
# Of pgoutput, in hexadecimal digits: transaction 9 with a row of its own and one of its subtransaction 10, which is aborted.
_LETTERS = (
    "53 00000009 01",  # a stream starts: a table of one column, two inserts
    "52 00000009 00000007 7075626c696300 7400 66 0001 01 6100 00000017 ffffffff",
    "49 00000009 00000007 4e 0001 74 00000001 39",
    "49 0000000a 00000007 4e 0001 74 00000001 38",
    "45",
    "41 00000009 0000000a",
    "63 00000009 00 0000000000000020 0000000000000030 0000000000000000",
)
STREAMED = "".join(f"0/30\t9\t{letter.replace(' ', '')}\n" for letter in _LETTERS).encode()


def line_ends(log: bytes) -> list[int]:
    """Return the ends of the lines of a log, each of which is a record."""
    return [at + 1 for at, byte in enumerate(log) if byte == ord("\n")]


FIRST, THIRD = line_ends(CHANGES)[3], line_ends(CHANGES)[10]  # ends of COMMIT 1 and COMMIT 3


class Case(NamedTuple):
    """A plan to be made: of which log, and with what."""

    driver: str
    log: bytes | str
    options: dict[str, Any]
    start: int = 0
    stop: int = 0
    packed: int = (
        0  # events inside compressed transactions; and parts that are lost where there is no event; less what goes on after the stop
    )


def ends(log: bytes) -> list[int]:
    """Return the ends of all events of a binary log, read from sizes alone."""
    at, found = 4, []
    while at + 19 <= len(log) and at + (size := int.from_bytes(log[at + 9 : at + 13], "little")) <= len(log):
        at += size
        found.append(at)
    return found


def record_ends() -> list[int]:
    """Return the ends of the records of the append-only file."""
    return [len(b"".join(RECORDS[: number + 1])) for number in range(len(RECORDS))]


ENDS = ends(LOG)
INSIDE = next(end for end in ENDS if end > 1000 and LOG[end + 4] == 23)  # before rows, so in the middle of a transaction
BETWEEN = next(end for end in ENDS if end > 9000 and LOG[end + 4] == 162)  # before a GTID
DAMAGED = LOG[: INSIDE + 30] + bytes([LOG[INSIDE + 30] ^ 1]) + LOG[INSIDE + 31 :]
SINCE = "2026-09-21T14:14:00Z"
CASES: dict[str, Case] = {
    "everything": Case("mysql", LOG, {}),
    "one table": Case("mysql", LOG, {"selection": selection(tables=["orders"])}),
    "two tables": Case("mysql", LOG, {"selection": selection(tables=["shop.order*", "*.users"])}),
    "no table": Case("mysql", LOG, {"selection": selection(tables=["nobody.*"])}),
    "not a table": Case("mysql", LOG, {"selection": selection(tables=["!orders"])}),
    "a kind": Case("mysql", LOG, {"selection": selection(kinds=["update"])}),
    "not a kind": Case("mysql", LOG, {"selection": selection(kinds=["!insert"])}),
    "a kind of the log": Case("mysql", LOG, {"selection": selection(kinds=["XID_EVENT"])}),
    "table and kind": Case("mysql", LOG, {"selection": selection(tables=["orders"], kinds=["insert", "delete"])}),
    "window": Case("mysql", LOG, {"selection": selection(since=SINCE, until="2026-09-21T14:14:30Z")}),
    "window and table": Case("mysql", LOG, {"selection": selection(since=SINCE, tables=["users"])}),
    "a transaction": Case("mysql", LOG, {"selection": selection(transactions=["0-1-35"])}),
    "not a transaction": Case("mysql", LOG, {"selection": selection(transactions=["!0-1-35"])}),
    "a GTID set": Case("mysql", LOG, {"selection": selection(gtids=["0-1-30..40,0-1-42"])}),
    "not a GTID set": Case("mysql", LOG, {"selection": selection(gtids=["!0-*-30..40"])}),
    "a statement": Case("mysql", LOG, {"selection": selection(statements=["update*orders", "delete"])}),
    "not a statement": Case("mysql", LOG, {"selection": selection(statements=["!insert"])}),
    "statements of whole transactions": Case("mysql", LOG, {"selection": selection(statements=["update"]), "whole_transactions": True}),
    "a column": Case("mysql", LOG, {"selection": selection(columns=["orders.status"])}),
    "not a column": Case("mysql", LOG, {"selection": selection(columns=["!status"])}),
    "rows": Case("mysql", LOG, {"selection": selection(tables=["orders"], where="id < 30")}),
    "no rows": Case("mysql", LOG, {"selection": selection(tables=["orders"], where="id < 0")}),
    "rows that lack the column": Case("mysql", MINIMAL, {"selection": selection(tables=["im.t"], where="c LIKE '%'")}),
    "whole transactions": Case("mysql", LOG, {"selection": selection(tables=["order_items"]), "whole_transactions": True}),
    "rows of whole transactions": Case(
        "mysql", LOG, {"selection": selection(tables=["orders"], where="id < 30"), "whole_transactions": True}
    ),
    "own replays too": Case("mysql", LOG, {"own_replays": True}),
    "foreign callable": Case("mysql", LOG, {"selection": (lambda event: len(event.raw) % 2 == 0,)}),
    "position as a filter": Case(
        "mysql", LOG, {"selection": (not_(by_position(stop=Position("mysql", "log.000001:9000"))), by_table("*"))}
    ),
    "from between": Case("mysql", LOG, {}, start=BETWEEN),
    "from inside": Case("mysql", LOG, {}, start=INSIDE),
    "up to between": Case("mysql", LOG, {}, stop=BETWEEN),
    "up to inside": Case("mysql", LOG, {}, stop=INSIDE),
    "from inside to between": Case("mysql", LOG, {"selection": selection(tables=["orders"])}, start=INSIDE, stop=BETWEEN),
    "open tail": Case("mysql", LOG[: ENDS[ENDS.index(INSIDE) + 1]], {}),
    "open tail that waits": Case("mysql", LOG[: ENDS[ENDS.index(INSIDE) + 1]], {"resume": True}),
    "torn tail that waits": Case("mysql", LOG[: BETWEEN + 9], {"resume": True}),
    "tables without names": Case("mysql", (SHOP / "nolog" / "shop.000001").read_bytes(), {"selection": selection(tables=["users"])}),
    "rows of tables without names": Case("mysql", (SHOP / "nolog" / "shop.000001").read_bytes(), {"selection": selection(where="id = 1")}),
    "every type and every definition": Case("mysql", (SHOP.parent / "types" / "types.000001").read_bytes(), {}),
    "compressed transactions": Case("mysql", PACKED, {}, packed=12),
    "a table of compressed transactions": Case("mysql", PACKED, {"selection": selection(tables=["s.t"])}, packed=12),
    "no table of compressed transactions": Case("mysql", PACKED, {"selection": selection(tables=["nobody.*"])}, packed=12),
    "rolled back": Case("mysql", ROLLED_BACK, {}),
    "no table of what was rolled back": Case("mysql", ROLLED_BACK, {"selection": selection(tables=["nobody.*"])}),
    "prepared": Case("mysql", PREPARED, {}),
    "prepared, and waits": Case("mysql", PREPARED, {"resume": True}),
    "no table, as an index shows": Case("mysql", LOG, {"selection": selection(tables=["nobody.*"]), "index": "memory://ledger/indexes"}),
    "a table, with an index": Case("mysql", LOG, {"selection": selection(tables=["orders"]), "index": "memory://ledger/indexes"}),
    "damage": Case("mysql", DAMAGED, {"on_damage": "salvage"}),
    "a torn tail": Case("mysql", LOG[: BETWEEN + 9], {"on_damage": "salvage"}, packed=1),
    "damage outside": Case("mysql", DAMAGED, {"on_damage": "salvage", "selection": selection(transactions=["0-1-35"])}),
    "commands": Case("redis", AOF, {}),
    "commands of a kind": Case("redis", AOF, {"selection": selection(kinds=["incr"])}),
    "commands of whole transactions": Case("redis", AOF, {"selection": selection(kinds=["sadd"]), "whole_transactions": True}),
    "commands from": Case("redis", AOF, {}, start=record_ends()[1]),
    "commands up to": Case("redis", AOF, {}, stop=record_ends()[3]),
    "commands that wait": Case("redis", AOF, {"resume": True}),
    "changes": Case("pg", CHANGES, {}),
    "changes of a table": Case("pg", CHANGES, {"selection": selection(tables=["u"])}),
    "changes of no table": Case("pg", CHANGES, {"selection": selection(tables=["nobody.*"])}),
    "changes of a kind": Case("pg", CHANGES, {"selection": selection(kinds=["delete"])}),
    "changes of rows": Case("pg", CHANGES, {"selection": selection(tables=["t"], where="a = 1")}),
    "changes of whole transactions": Case("pg", CHANGES, {"selection": selection(kinds=["delete"]), "whole_transactions": True}),
    "changes of a transaction": Case("pg", CHANGES, {"selection": selection(transactions=["3"])}),
    "changes from": Case("pg", CHANGES, {}, start=FIRST),
    "changes up to": Case("pg", CHANGES, {}, stop=THIRD, packed=-3),
    "plain changes": Case("pg", PLAIN, {}),
    "plain changes of another table": Case("pg", PLAIN, {"selection": selection(tables=["orders"])}),
    "a subtransaction that was aborted": Case("pg", STREAMED, {}),
}


def made(case: Case) -> Plan:
    """Return the plan of a case, in memory."""
    number = next(NUMBERS)
    url = f"memory://ledger/{number}/log.000001"
    storage.write_file(url, case.log if isinstance(case.log, bytes) else case.log.encode(), {})
    place = {name: Position(case.driver, f"log.000001:{at}") for name, at in (("start", case.start), ("stop", case.stop)) if at}
    options = {
        **case.options,
        **({"start": Checkpoint(position=place["start"])} if case.start else {}),
        **({"stop": place["stop"]} if case.stop else {}),
    }
    if "index" in options:
        make_plan(PlanRequest(case.driver, (url,), f"memory://ledger/{number}/before", index=options["index"]))
    plan = make_plan(PlanRequest(case.driver, (url,), f"memory://ledger/{number}/plan", **options))
    assert plan is not None
    return plan


def balance(name: str) -> None:
    """Make the plan of a case and hold its ledger against counts that are made here."""
    case = CASES[name]
    plan = made(case)
    ledger = plan.ledger
    steps = list(plan.steps())
    outside = ledger.not_needed[words.BEFORE_START] + ledger.not_needed[words.AFTER_STOP] if case.start or case.stop else 0
    assert isinstance(case.log, bytes)
    bounds = BOUNDS[case.driver](case.log)
    final = int(plan.end.position.value.rpartition(":")[2]) if "torn" in name else case.stop or bounds[-1]
    inside = [end for end in bounds if case.start < end <= final]

    assert (len(inside) + case.packed, ledger.total) == (ledger.total - outside, ledger.accounted)
    assert (len(steps), len(list(plan.omitted()))) == (ledger.undone, ledger.omitted.total())
    assert sum(rows_of(step.operation) for step in steps) == ledger.rows_undone
    assert Counter(line["reason"] for line in plan.omitted()) == ledger.omitted


BOUNDS: dict[str, Callable[[bytes], list[int]]] = {"mysql": ends, "redis": lambda _: record_ends(), "pg": line_ends}


def rows_of(operation: RowChanges | CommandChange) -> int:
    """Return how many rows an operation changes."""
    return len(operation.rows) if isinstance(operation, RowChanges) else 1


@pytest.mark.parametrize("name", CASES)
def test_the_ledger_balances(name: str) -> None:
    """The total is undone + not needed + omitted, and is that of the log's own sizes; undone and omitted are what the plan holds."""
    balance(name)


def verdicts() -> None:
    """Hold what single cases count against what is known of the corpus and of the commands above."""
    rows, none = made(CASES["rows"]).ledger, made(CASES["no rows"]).ledger
    of_orders = made(CASES["one table"]).ledger
    assert (of_orders.rows_undone, of_orders.undone) == (
        rows.rows_undone + rows.rows_not_needed,
        rows.undone + rows.not_needed[words.ROW_FILTER],
    )
    assert (29, 0, of_orders.rows_undone) == (rows.rows_undone, none.undone, none.rows_not_needed)
    assert {words.BEFORE_START: 2} == {
        key: value for key, value in made(CASES["commands from"]).ledger.not_needed.items() if key != words.STRUCTURE
    }
    lacking, all_of_t = (
        made(Case("mysql", MINIMAL, {"selection": selection(tables=["im.t"], where=where)})).ledger for where in ("c LIKE '%'", "")
    )
    assert lacking.omitted[LACKS_COLUMN.reason] > all_of_t.omitted[LACKS_COLUMN.reason] > 0
    assert made(CASES["open tail that waits"]).ledger.not_needed[words.NEXT_RUN] == 1
    assert made(CASES["commands that wait"]).ledger.not_needed[words.NEXT_RUN] == 2
    assert made(CASES["prepared, and waits"]).ledger.not_needed[words.NEXT_RUN] == 2
    assert made(CASES["prepared"]).ledger.omitted == {words.PREPARED: 2}
    assert made(CASES["rolled back"]).ledger.not_needed[words.ROLLED_BACK] == 3
    assert made(CASES["open tail"]).ledger.omitted == {words.NOT_COMMITTED: 1}
    assert made(CASES["damage"]).ledger.omitted == {words.DAMAGED: 2}
    assert made(CASES["a torn tail"]).ledger.omitted == {words.CUT_OFF: 1}
    assert made(CASES["damage outside"]).ledger.not_needed[words.OTHER_TRANSACTION] > 1
    indexed = made(CASES["no table, as an index shows"]).ledger
    assert {words.NOT_READ: indexed.total} == indexed.not_needed
    assert made(CASES["own replays too"]).ledger == made(CASES["everything"]).ledger
    assert (4, 4) == tuple(made(CASES["changes"]).ledger.not_needed[reason] for reason in (words.ROLLED_BACK, words.OWN_REPLAY))
    assert made(CASES["changes from"]).ledger.not_needed[words.BEFORE_START] == 4
    assert made(CASES["changes up to"]).ledger.not_needed[words.AFTER_STOP] == 3
    assert made(CASES["a subtransaction that was aborted"]).ledger.not_needed == {words.STRUCTURE: 5, words.ROLLED_BACK: 1}


def test_verdicts_are_the_right_ones() -> None:
    """Each reason stands for what it says."""
    verdicts()


def test_ledgers_add_up() -> None:
    """A sum counts what its parts count, and is read back equal."""
    one, other = (made(CASES[name]).ledger for name in ("rows", "tables without names"))

    assert (one.total + other.total, one.accounted + other.accounted) == ((one + other).total, (one + other).accounted)
    assert one + other == Ledger.from_json((one + other).to_json())
    assert one + Ledger() == one


COUNTING = {
    "dblog_tasks.mysql.decoder": r"ledger",
    "dblog_tasks.mysql.header_count": r"total",
    "dblog_tasks.mysql.header_search": r"ledger",
    "dblog_tasks.mysql.reading": r"_frames|_damaged",
    "dblog_tasks.part": r"ledger",
    "dblog_tasks.postgres.events": r"ledger",
    "dblog_tasks.redis": r"ledger",
    "dblog_tasks.redis.decoder": r"ledger",
    "dblog_tasks.redis.resp": r"counted",
    "dblog_tasks.selection": r"ledger",
}


def counting_lines() -> Iterator[tuple[str, int]]:
    """Yield module and line of every statement that raises a count of a ledger."""
    for name, pattern in COUNTING.items():
        for node in ast.walk(ast.parse(inspect.getsource(import_module(name)))):
            if isinstance(node, ast.AugAssign) and re.search(pattern, ast.unparse(node.target)):
                yield name, node.lineno


def without(module: ModuleType, line: int) -> tuple[FunctionType, CodeType]:
    """Return the function that a counting line is in, and its code without that line."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                block[:] = [
                    ast.copy_location(ast.Pass(), part) if isinstance(part, ast.AugAssign) and part.lineno == line else part
                    for part in block
                ]
    pending = [compile(tree, str(module.__file__), "exec", dont_inherit=True)]
    while pending:
        code = pending.pop()
        found = [inner for inner in code.co_consts if isinstance(inner, CodeType)]
        pending += found
        for inner in found:
            function = _named(module, inner.co_qualname)
            if isinstance(function, FunctionType) and inner.co_firstlineno <= line <= max(at for _, _, at in inner.co_lines() if at):
                return function, inner
    raise AssertionError(f"no function around line {line} of {module.__name__}")


def _named(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


# What the cases have that see the counts of a module soonest.
SEES = {"dblog_tasks.mysql.reading": "on_damage", "dblog_tasks.part": "resume"}


def nearest(module: str) -> list[str]:
    """Return the names of all cases, those first that are likely to see what a module counts."""
    driver = next((driver for word, driver in (("redis", "redis"), ("postgres", "pg")) if word in module), "mysql")
    option = SEES.get(module, "selection")
    return sorted(CASES, key=lambda case: (CASES[case].driver != driver, option not in CASES[case].options))


def holds(check: Callable[..., None], *arguments: str) -> bool:
    """Return whether a check passes; what it raises does not matter."""
    try:
        check(*arguments)
    except Exception:  # noqa: BLE001 - a count that is missing may show in any way
        return False
    return True


def test_there_are_lines_that_count() -> None:
    """The search below finds what it is for, in every module."""
    assert set(COUNTING) == {name for name, _ in counting_lines()}
    assert len(list(counting_lines())) > 12


@pytest.mark.slow
@pytest.mark.parametrize(("name", "line"), [*counting_lines()])
def test_no_counting_line_can_go(name: str, line: int) -> None:
    """Without any one line that counts, the ledger of some case is wrong."""
    function, code = without(import_module(name), line)
    kept = function.__code__
    function.__code__ = code
    try:
        seen = not all(holds(balance, case) for case in nearest(name)) or not holds(verdicts)
    finally:
        function.__code__ = kept

    assert seen, f"line {line} of {name} counts something that no case sees"
