"""The plan file: a folder that a person approves and a machine replays.

    manifest.json                          written last and exclusively: a folder without one is no plan
    steps/<file>-<n>-<hash>.jsonl.zst      what is to be undone, in log order, as the log has it; read back newest first, reversed
    omitted/<file>-<n>-<hash>.jsonl.zst    what was inside the filters and cannot be undone, and why
    conflicts/<n>-<hash>.jsonl.zst         later changes to the same rows, as far as the logs tell

A segment is Zstandard over lines of JSON, at most some MB of them, so that reading newest first holds one segment. Its name ends
with the beginning of the SHA-256 of its lines: what two attempts write differs in name or is the same. Lines of `steps`:

    {"table": 0, "schema": …, "name": …, "columns": […], "key": […]}        once a segment, before its first use; `dependents` if known
    {"transaction": 0, "id": …, "start": …, "end": …, "time": …, …}         likewise
    {"at": position, "in": transaction, "of": table, "rows": [[before, after], …]}
    {"at": position, "in": transaction, "of": table, "carried": true, "rows": …}     where a foreign key took them along
    {"at": position, "in": transaction, "database": n, "do": […], "undo": […], "grade": …}
    {"at": position, "in": transaction, "operation": …}                      of a backend's own: as it is, already the undo

Values: JSON's own; bytes are {"base64": …}, in columns of the character set `binary` the base64 alone; integers of more than 64 bits
{"integer": "0x…"}; null is NULL. Decimals and temporals are text.

The manifest says what that part of the log does not hold: `cascades`, tables that foreign keys may have changed; `pending`, prepared XA
transactions that a run left to the one that sees them committed; `prepared_before`, such that were committed here and not taken up.

The plan id is the SHA-256 over driver, source, filter, logs, both checkpoints and the hashes of steps and omitted: the same log
and filter give the same id wherever the plan lies.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import orjson
import zstandard

from dblog_tasks import __version__, storage
from dblog_tasks.errors import InvalidInput, MalformedPlan
from dblog_tasks.event import Checkpoint, CommandChange, JsonObject, Position, Row, RowChanges, Source, Table, Transaction, binary_columns
from dblog_tasks.ledger import Ledger
from dblog_tasks.part import BIGGEST, CONFLICTS, OMITTED, STEPS, LogPart, Pending, Segment, transaction_json
from dblog_tasks.recovery import RecoveryStep

if TYPE_CHECKING:
    from dblog_tasks.backend import Backend

FORMAT = "dblog-plan/2"
MANIFEST = "manifest.json"
MANIFEST_MAX = 64 << 20
TABLES_MAX = 1000  # kept, of those that segments have in common


def _transaction(value: Mapping[str, Any], driver: str) -> Transaction:
    return Transaction(
        value["id"],
        Position(driver, value["start"]),
        Position(driver, value["end"]),
        datetime.fromisoformat(value["time"]) if value["time"] else None,
        tuple(value["names"]),
        value["thread"],
        tuple(value["statements"]),
        tuple(value["also_touched"]),
    )


@dataclass(frozen=True, slots=True)
class Conflicts:
    """What the second pass over the logs found.

    Attributes:
        hard: rows whose undo would meet another value, no row, or a row that took its key.
        soft: rows of which another column was changed later.
        position, time: how far the logs were known.
        unknown: tables whose later changes could not be compared, and why.
        segments: the conflicts themselves.
        keys: distinct keys the plan touches, by table.
    """

    hard: int = 0
    soft: int = 0
    position: str = ""
    time: str = ""
    unknown: Mapping[str, str] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    keys: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """Return the finding as a JSON object, without its segments."""
        return {
            "hard": self.hard,
            "soft": self.soft,
            "known_up_to": {"position": self.position, "time": self.time},
            "unknown": dict(sorted(self.unknown.items())),
            "keys": dict(sorted(self.keys.items())),
        }


def filter_id(filters: Any) -> str:
    """Return a short name of a filter: equal filters have equal names, in every process."""
    return hashlib.sha256(orjson.dumps(filters, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def plan_id(manifest: Mapping[str, Any]) -> str:
    """Return the id of a plan: what it does and from what it was made, not where it lies or when it was made."""
    content = {name: manifest[name] for name in ("driver", "source", "filter", "logs", "start", "end")}
    content["segments"] = [segment["sha256"] for segment in manifest["segments"] if segment["kind"] != CONFLICTS]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def manifest_of(driver: str, source: Source, filters: Any, parts: Sequence[LogPart], conflicts: Conflicts) -> JsonObject:
    """Return the manifest of a plan made of these parts, in log order."""
    ledger = sum((part.ledger for part in parts), Ledger())
    tables: dict[str, Counter[str]] = {}
    for part in parts:
        for table, counts in part.tables.items():
            tables.setdefault(table, Counter()).update(counts)
    biggest = sorted((found for part in parts for found in part.transactions), key=lambda found: -found[0])[:BIGGEST]
    manifest: JsonObject = {
        "format": FORMAT,
        "made_by": f"dblog-tasks {__version__}",
        "driver": driver,
        "source": source.to_json(),
        "logs": [{"name": name, "identity": identity} for name, identity in (part.log for part in parts)],
        "filter": filters,
        "start": parts[0].start.to_json(),
        "end": parts[-1].end.to_json(),
        "tables": {table: dict(sorted(counts.items())) for table, counts in sorted(tables.items())},
        "transactions": {
            "count": sum(part.transaction_count for part in parts),
            "biggest": [{"rows": rows, **transaction_json(transaction)} for rows, transaction in biggest],
            "partly_selected": sum(part.partly[0] for part in parts),
            "also_touched": sorted({table for part in parts for table in part.partly[1]}),
        },
        "pending": [pending._asdict() for part in parts for pending in part.pending],
        "prepared_before": sorted(prepared_before(parts)),
        "cascades": sorted({table for part in parts for table in part.cascades}),
        "ledger": ledger.to_json(),
        "fixes": {reason: fix for part in parts for reason, fix in part.omissions.items()},
        "conflicts": conflicts.to_json(),
        "segments": [segment.to_json() for part in parts for segment in part.segments]
        + [segment.to_json() for segment in conflicts.segments],
    }
    manifest = {"plan": plan_id(manifest), **manifest}
    return {**manifest, "sha256": _seal(manifest)}


def prepared_before(parts: Sequence[LogPart]) -> set[str]:
    """Return the ids of XA transactions that were committed in these parts of a log, in log order, and prepared before all of them."""
    prepared: set[str] = set()
    found: set[str] = set()
    for part in parts:
        found |= set(part.ended) - prepared
        prepared = prepared - set(part.ended) | part.prepared
    return found


def not_in_log(manifest: Mapping[str, Any]) -> list[str]:
    """Return in sentences what happened in the part of the log a plan is of though that part does not hold it."""
    reached, before = ", ".join(manifest.get("cascades", ())), ", ".join(manifest.get("prepared_before", ()))
    return [
        *([f"foreign keys may have changed rows the log does not hold: {reached}"] if reached else []),
        *([f"XA transactions were committed here that were prepared before: {before}"] if before else []),
    ]


def pending_of(folder: str, stem: str, ids: AbstractSet[str], storage_options: Mapping[str, Any], backend: Backend) -> list[Pending]:
    """Return where the transactions of these ids were left pending by the plans below a folder whose names begin so: the last of each."""
    key: Callable[[Position], Any] = getattr(backend, "position_key", lambda position: position.value)
    found: list[tuple[Any, Pending]] = []
    for name in storage.list_folder(folder, storage_options):
        if name.startswith(stem) and storage.exists(storage.join(folder, name, MANIFEST), storage_options):
            left = [Pending(**each) for each in read_plan(storage.join(folder, name), storage_options).manifest.get("pending", ())]
            found += [(key(Position(backend.driver, pending.start)), pending) for pending in left if pending.id in ids]
    return list({pending.id: pending for _, pending in sorted(found)}.values())


def _seal(manifest: Mapping[str, Any]) -> str:
    """Return the hash of all that a manifest says, so that a change in what the plan id leaves out is seen too."""
    said = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete plan.

    Attributes:
        url: its folder.
        manifest: what it says of itself.
        storage_options: to read its segments with.
    """

    url: str
    manifest: Mapping[str, Any]
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        """The name an approval gives it."""
        return str(self.manifest["plan"])

    @property
    def start(self) -> Checkpoint:
        """Where it begins: events after this."""
        return Checkpoint.from_json(self.manifest["start"])

    @property
    def end(self) -> Checkpoint:
        """Where it ends; the next plan starts here."""
        return Checkpoint.from_json(self.manifest["end"])

    @property
    def ledger(self) -> Ledger:
        """What became of every event."""
        return Ledger.from_json(self.manifest["ledger"])

    def segments(self, kind: str) -> list[Segment]:
        """Return the segments of a kind, in log order."""
        return [Segment(**value) for value in self.manifest["segments"] if value["kind"] == kind]

    def lines(self, segment: Segment) -> Iterator[JsonObject]:
        """Yield the lines of a segment in log order. Raises MalformedPlan when they are not what the manifest says."""
        return _parsed(self._raw_lines(segment), segment.name)

    def _raw_lines(self, segment: Segment) -> list[bytes]:
        return self._read(segment).splitlines()

    def _read(self, segment: Segment) -> bytes:
        where = storage.join(self.url, segment.name)
        if not storage.exists(where, self.storage_options):
            raise MalformedPlan("a segment of the plan is missing", where=where, hint="make the plan again")
        data = storage.read_file(where, self.storage_options)
        try:
            with zstandard.ZstdDecompressor().stream_reader(data) as reader:
                lines: bytes = reader.read(segment.size + 1)
        except zstandard.ZstdError as error:
            raise MalformedPlan(f"the segment cannot be unpacked: {error}", where=where) from None
        if hashlib.sha256(lines).hexdigest() != segment.sha256:
            raise MalformedPlan("the segment is not the one the manifest names", where=where, hint="make the plan again")
        return lines

    def steps(self) -> Iterator[RecoveryStep]:
        """Yield the steps newest first, each reversed: ready to be replayed in this order."""
        for segment in reversed(self.segments(STEPS)):
            yield from reversed(list(self.steps_of(segment)))

    def stored_segments(self) -> Iterator[StoredSegment]:
        """Yield the segments of steps, newest first, as they are stored."""
        known: dict[bytes, Table] = {}
        for data in storage.ahead(self._read, reversed(self.segments(STEPS))):
            try:
                stored = _stored(data, known, self.url)
            except UNREADABLE as error:
                raise unreadable(error, self.url) from None
            yield stored or _read_already(list(self._steps_in(data)))

    def positions(self) -> Iterator[str]:
        """Yield the positions of the steps, in log order."""
        for segment in self.segments(STEPS):
            for line in self._raw_lines(segment):
                if line.startswith(_AT):
                    yield line[len(_AT) : line.index(b'"', len(_AT))].decode()

    def steps_of(self, segment: Segment) -> Iterator[RecoveryStep]:
        """Yield the steps of a segment in log order, each reversed."""
        return self._steps_in(self._read(segment))

    def _steps_in(self, data: bytes) -> Iterator[RecoveryStep]:
        driver, source = self.manifest["driver"], Source.from_json(self.manifest["source"])
        tables: list[tuple[Table, list[int]]] = []
        transactions: list[Transaction] = []
        for raw in data.splitlines():
            try:
                line = orjson.loads(raw)
                if "table" in line:
                    tables.append((table := Table.from_json(line), binary_columns(table)))
                elif "transaction" in line:
                    transactions.append(_transaction(line, driver))
                else:
                    transaction = None if line["in"] is None else transactions[line["in"]]
                    yield RecoveryStep(Checkpoint(source, Position(driver, line["at"])), _operation(line, tables, raw), transaction)
            except UNREADABLE as error:
                raise unreadable(error, self.url) from None

    def omitted(self) -> Iterator[JsonObject]:
        """Yield what could not be undone, in log order."""
        return (line for segment in self.segments(OMITTED) for line in self.lines(segment))

    def conflicts(self) -> Iterator[JsonObject]:
        """Yield the later changes to the plan's rows, in log order."""
        return (line for segment in self.segments(CONFLICTS) for line in self.lines(segment))


def unreadable(error: Exception, where: str) -> MalformedPlan:
    """Return the error for a line that is not what lines are, though its hash is the manifest's: another program wrote it."""
    return MalformedPlan(f"a line cannot be read: {type(error).__name__}", where=where, hint="make the plan again")


def _parsed(lines: Sequence[bytes], where: str) -> Iterator[JsonObject]:
    try:
        for line in lines:
            yield {**orjson.loads(line)}
    except UNREADABLE as error:
        raise unreadable(error, where) from None


def _operation(line: JsonObject, tables: Sequence[tuple[Table, list[int]]], raw: bytes) -> Any:
    """Return the undo of one line; a look at its bytes tells whether any value of its rows is packed."""
    if "rows" in line:
        table, binary = tables[line["of"]]
        pairs, carried = reversed(line["rows"]), "carried" in line
        if binary or _PACKED in raw[1:]:
            return RowChanges(table, [(_unpacked_row(after, binary), _unpacked_row(before, binary)) for before, after in pairs], carried)
        return RowChanges(table, [(after and tuple(after), before and tuple(before)) for before, after in pairs], carried)
    if "do" in line:
        return CommandChange(line["database"], _unpacked(line["do"]), _unpacked(line["undo"]), line["grade"]).reverse()
    return line["operation"]


class StoredSegment(NamedTuple):
    """A segment of steps, in log order, as they are stored: for those who want rows as text, and not as values first.

    Attributes:
        data: the segment.
        places: where in it the lines of its steps begin and end, by turns.
        tables, transactions: what those lines name by number.
        step: its position, transaction and operation as `RecoveryStep` has them, by number.
    """

    data: bytes
    places: tuple[int, ...]
    tables: list[Table]
    transactions: list[StoredTransaction]
    step: Callable[[int], tuple[str, StoredTransaction | None, Any]]


def _stored(data: bytes, known: dict[bytes, Table], where: str = "") -> StoredSegment | None:
    """Return a segment, None for one that is not written as ours are. `known` tables are the same objects in all segments."""
    places: list[int] = []
    tables: list[Table] = []
    transactions: list[StoredTransaction] = []
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        if data.startswith(_AT, at):
            places += at, end
        elif data.startswith(_TRANSACTION, at):
            transactions.append(_stored_transaction(data[at:end]))
        elif data.startswith(_TABLE, at):
            tables.append(_known_table(data[at:end], known))
        else:
            return None
        at = end + 1
    if at != len(data) or b"\r" in data:
        return None
    binary = [(table, binary_columns(table)) for table in tables]

    def step(number: int) -> tuple[str, StoredTransaction | None, Any]:
        raw = data[slice(*places[2 * number : 2 * number + 2])]
        try:
            line = orjson.loads(raw)
            transaction = None if line["in"] is None else transactions[line["in"]]
            return line["at"], transaction, _operation(line, binary, raw)
        except UNREADABLE as error:
            raise unreadable(error, where) from None

    return StoredSegment(data, tuple(places), tables, transactions, step)


def _read_already(steps: Sequence[RecoveryStep]) -> StoredSegment:
    """Return a segment of steps that nothing but their values is known of."""

    def step(number: int) -> tuple[str, StoredTransaction | None, Any]:
        found, transaction = steps[number], steps[number].transaction
        told = None if transaction is None else _told(transaction_json(transaction))
        return found.checkpoint.position.value, told, found.operation

    return StoredSegment(b"", (0, 0) * len(steps), [], [], step)


def _stored_transaction(raw: bytes) -> StoredTransaction:
    plain = _plain_transaction().match(raw)
    if plain is None:
        return _told(orjson.loads(raw))
    start, time, name = plain["start"], plain["time"], plain["id"]
    return name.decode(), start.decode(), time.decode() if time is not None else None, ""


@cache
def _plain_transaction() -> re.Pattern[bytes]:
    """Return the expression for a transaction without statements, compiled when one is first read."""
    return re.compile(
        rb'\{"transaction":\d+,"id":"(?P<id>[!#-\[\]-~]+)","start":"(?P<start>[!#-\[\]-~]*)","end":"[!#-\[\]-~]*",'
        rb'"time":(?:null|"(?P<time>[!#-\[\]-~]*)"),"names":\["[!#-Z^-~",]*"\],"thread":\d+,"statements":\[\],"also_touched":'
    )


def _told(line: JsonObject) -> StoredTransaction:
    return line["id"], line["start"], line["time"], line["statements"][0] if line["statements"] else ""


def _known_table(raw: bytes, known: dict[bytes, Table]) -> Table:
    said = raw.partition(b",")[2]  # all but its number in the segment
    found = known.get(said)
    if found is None:
        if len(known) >= TABLES_MAX:
            known.clear()
        found = known[said] = Table.from_json(orjson.loads(raw))
    return found


UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)  # what JSON of another shape comes to
_TABLE, _TRANSACTION = b'{"table":', b'{"transaction":'
StoredTransaction: TypeAlias = tuple[str, str, str | None, str]  # its id, where it starts, when it was committed, its first statement
_AT = b'{"at":"'  # how the line of a step begins; a position has no character that JSON escapes
_PACKED = b'{"'  # how a packed value begins; text may hold it too: then rows are looked through for nothing


def _unpacked_row(values: list[Any] | None, binary: Sequence[int]) -> Row | None:
    if values is None:
        return None
    for at in binary:
        if type(values[at]) is str:  # an enum of this character set is a number
            values[at] = a2b_base64(values[at])
    return _unpacked(values)


def _unpacked(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([_unwrapped(value) if type(value) is dict else value for value in values])


def _unwrapped(value: Mapping[str, str]) -> bytes | int:
    return a2b_base64(value["base64"]) if "base64" in value else int(value["integer"], 16)


def read_plan(url: str, storage_options: Mapping[str, Any]) -> Plan:
    """Return the plan in a folder. Raises InvalidInput when there is none, MalformedPlan when it is not whole."""
    where = storage.join(url, MANIFEST)
    if not storage.exists(where, storage_options):
        plans = [
            name for name in storage.list_folder(url, storage_options) if storage.exists(storage.join(url, name, MANIFEST), storage_options)
        ]
        if len(plans) == 1:
            return read_plan(storage.join(url, plans[0]), storage_options)
        held = f"it holds the plans {', '.join(plans[:5])}" if plans else "a plan is a folder with a manifest.json"
        raise InvalidInput("no plan here", where=url, hint=held)
    try:
        manifest = orjson.loads(storage.read_file(where, storage_options, MANIFEST_MAX))
        if manifest["format"] != FORMAT:
            raise MalformedPlan(f"format {manifest['format']!r:.40}, expected {FORMAT!r}", where=where)
        if plan_id(manifest) != manifest["plan"] or _seal(manifest) != manifest["sha256"]:
            raise MalformedPlan(
                "the manifest is not the one that was written: its hash does not match", where=where, hint="make the plan again"
            )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MalformedPlan("the manifest cannot be read", where=where, hint="make the plan again") from None
    return Plan(url, manifest, storage_options)


def write_manifest(url: str, manifest: JsonObject, storage_options: Mapping[str, Any]) -> Plan:
    """Make a folder of segments a plan; return it, or the plan of the same start that somebody else finished first."""
    data = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if storage.write_exclusively(storage.join(url, MANIFEST), data, storage_options):
        return Plan(url, manifest, storage_options)
    return read_plan(url, storage_options)


def check(plan: Plan) -> list[str]:
    """Read all of a plan; return what does not agree in it: nothing for a whole one."""
    problems = [] if plan.ledger.balanced else [f"ledger: {plan.ledger.accounted} events have a verdict, {plan.ledger.total} were read"]
    undone = rows = omitted = 0
    for segment in (*plan.segments(STEPS), *plan.segments(OMITTED), *plan.segments(CONFLICTS)):
        try:
            found = [line for line in plan.lines(segment) if "at" in line]
        except MalformedPlan as error:
            problems.append(str(error))
            continue
        undone += len(found) if segment.kind == STEPS else 0
        omitted += len(found) if segment.kind == OMITTED else 0
        rows += sum(len(line.get("rows", "1")) for line in found) if segment.kind == STEPS else 0
    counted = (
        ("undone events", undone, plan.ledger.undone),
        ("undone rows", rows, plan.ledger.rows_undone),
        ("omitted events", omitted, plan.ledger.omitted.total()),
    )
    problems += [f"{what}: {found} in the segments, {said} in the ledger" for what, found, said in counted if found != said]
    return problems
