"""The verbs that read logs: `plan`, `events`, `inspect`. No logic: options in, a verb called, its answer printed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
import sys
from typing import Annotated, Any, Literal, TextIO

import orjson

from dblog_tasks.cli_options import DONE, INCOMPLETE, Option, StorageOptions, store as _store
from dblog_tasks.event import Checkpoint, Column, Event, Position, Row, RowChanges
from dblog_tasks.filters import Predicate
from dblog_tasks.ledger import NOT_READ, Ledger
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan, read_events, selection
from dblog_tasks.verdict import verdict

Logs = Annotated[list[str], Option("Files, folders, globs or a binlog index file, as paths or URLs (s3://bucket/logs/).", "LOGS")]
Driver = Annotated[str, Option("What the log is: mysql (MySQL, MariaDB), pg (PostgreSQL), redis.")]
Schema = Annotated[str, Option("CREATE TABLE statements (pg_dump -s), or a DSN, for what the log does not tell of tables.")]
Index = Annotated[
    str,
    Option("Folder for indexes of closed log files, a path or URL: later searches read only what matters.", environment="DBLOG_INDEX"),
]
LineForm = Annotated[Literal["json", "text"], Option("A JSON object or tab-separated text a line.", "--as")]


@dataclass(frozen=True)
class Filters:
    """What of a log is meant: all must hold, several values of one any."""

    tables: Annotated[list[str], Option("Only these tables: a glob over schema.table, or the name alone; !GLOB leaves out.", "--table")] = (
        field(default_factory=list)
    )
    kinds: Annotated[list[str], Option("Only these: insert, update, delete, or the log's own names; !KIND leaves out.", "--kind")] = field(
        default_factory=list
    )
    since: Annotated[str, Option("Transactions committed at this time or later, with its zone: 2026-11-23T14:00:00Z.")] = ""
    until: Annotated[str, Option("Transactions committed before this time.")] = ""
    start: Annotated[str, Option("Events after this position: mysql-bin.000007:4523.")] = ""
    stop: Annotated[str, Option("Events up to and including this position.")] = ""
    transactions: Annotated[
        list[str], Option("Only these: GTID, xid, or the position where it starts; !ID leaves out.", "--transaction")
    ] = field(default_factory=list)
    gtids: Annotated[
        list[str], Option("Only transactions in this GTID set: uuid:1-5:7,uuid:tag:3, or 0-1-5..90; !SET leaves out.", "--gtid")
    ] = field(default_factory=list)
    threads: Annotated[list[str], Option("Only what this thread (connection id) committed; !ID leaves out.", "--thread")] = field(
        default_factory=list
    )
    statements: Annotated[
        list[str], Option("Only what statements with this text in them did, * for any text; !TEXT leaves out.", "--statement")
    ] = field(default_factory=list)
    columns: Annotated[
        list[str], Option("Only rows in which this column changed: status, orders.status; !COLUMN leaves out.", "--column")
    ] = field(default_factory=list)
    where: Annotated[str, Option("Only rows for which this holds: \"status = 'paid' AND after.total = 0\".")] = ""
    whole_transactions: Annotated[bool, Option("Take transactions wholly when any of their changes is selected.")] = False
    on_damage: Annotated[
        Literal["stop", "salvage"], Option("Stop at damage with an error, or take what is provably whole and say what is lost.")
    ] = "stop"
    format: Annotated[str, Option("The log's format where its content does not tell: copy or psql, for columns with backslashes.")] = ""
    own_replays: Annotated[bool, Option("Take our own replays in the log too; they are left out otherwise.")] = False

    @property
    def selection(self) -> tuple[Predicate, ...]:
        """The predicates. Raises InvalidInput."""
        return selection(
            tables=self.tables,
            kinds=self.kinds,
            since=self.since,
            until=self.until,
            transactions=self.transactions,
            gtids=self.gtids,
            threads=self.threads,
            statements=self.statements,
            columns=self.columns,
            where=self.where,
        )


def _request(logs: Sequence[str], driver: str, filters: Filters, schema: str, storage_options: Sequence[str], **more: Any) -> PlanRequest:
    """Return what is asked for as a request; without `out` it only says what to read."""
    more.setdefault("out", "")
    return PlanRequest(
        driver,
        tuple(logs),
        selection=filters.selection,
        start=Checkpoint(position=Position(driver, filters.start)) if filters.start else Checkpoint(),
        stop=Position(driver, filters.stop) if filters.stop else Position(),
        schema=schema,
        storage_options=_store(storage_options, *logs, more["out"]),
        whole_transactions=filters.whole_transactions,
        own_replays=filters.own_replays,
        on_damage=filters.on_damage,
        format=filters.format,
        **more,
    )


def plan(
    logs: Logs,
    /,
    *,
    driver: Driver,
    out: Annotated[str, Option("Folder for the plan, a path or URL; with --resume the folder of all its plans.")],
    filters: Filters = Filters(),
    schema: Schema = "",
    storage_options: StorageOptions = [],  # noqa: B006
    source: Annotated[str, Option("Name of whose log it is.")] = "",
    resume: Annotated[bool, Option("Go on after the last plan of the same source and filter under --out.")] = False,
    jobs: Annotated[int, Option("Log files read at the same time.")] = 1,
    index: Index = "",
    as_: Annotated[Literal["summary", "sql", "redis", "json"] | None, Option("Print the plan, as `dblog show --as` does.", "--as")] = None,
) -> int:
    """Plan the undo of what is selected, and write the plan; nothing is changed in any database.

    Example: dblog plan /var/lib/mysql/mysql-bin.0* --driver mysql --out plan --table shop.orders --since 2026-11-23T14:00:00Z
    """
    request = _request(logs, driver, filters, schema, storage_options, out=out, source=source, resume=resume, index=index)
    with _progress("reading") as advance:
        made = make_plan(request, jobs=jobs, progress=lambda part, files: advance(part.log[0], files))
    if made is None:
        print(f"nothing new since the last plan in {out}")
        return DONE
    _print_made(made, sys.stdout if as_ is None else sys.stderr)
    if as_ is not None:
        from dblog_tasks.cli_show import print_plan  # noqa: PLC0415 - a verb of its own

        print_plan(made, as_)
    return INCOMPLETE if made.ledger.omitted or made.manifest["conflicts"]["hard"] else DONE


def _print_made(made: Plan, to: TextIO) -> None:
    unread = _unread(made.ledger)
    print(f"{verdict(made)}\n{unread}plan {made.id} in {made.url}\nnext: dblog show {made.url}", file=to)


def _unread(ledger: Ledger) -> str:
    """Return as a line how much was not read thanks to an index; nothing where all was."""
    events = ledger.not_needed[NOT_READ]
    return f"{events:,} of {ledger.total:,} events {NOT_READ}\n" if events else ""


def events(
    logs: Logs,
    /,
    *,
    driver: Driver,
    as_: LineForm = "text",
    filters: Filters = Filters(),
    schema: Schema = "",
    storage_options: StorageOptions = [],  # noqa: B006
    index: Index = "",
) -> int:
    """Print the events that are selected, one a line: position, kind, time, transaction, table, body.

    Example: dblog events mysql-bin.000007 --driver mysql --kind delete --as json
    """
    form = FORMS[as_]
    for event in _read(_request(logs, driver, filters, schema, storage_options, index=index)):
        sys.stdout.write(form(event))
    return DONE


def _read(request: PlanRequest) -> Iterator[Event]:
    """Yield the events, our own replays among them: whoever looks at a log is shown all of it. Say then what was not read."""
    ledger = Ledger()
    yield from read_events(replace(request, own_replays=True), ledger=ledger)
    sys.stderr.write(_unread(ledger))


def _record(event: Event) -> dict[str, Any]:
    return {
        "position": event.position.value,
        "kind": event.kind,
        "time": event.time.isoformat() if event.time else None,
        "transaction": event.transaction,
        "table": ".".join(event.table) if event.table else None,
        "body": _body(event.body),
    }


def _body(body: Any) -> Any:
    """Return a body as JSON has it: rows by column name, labels for the numbers of enums and sets."""
    if isinstance(body, RowChanges):
        columns = body.table.columns
        return [{"before": _named(columns, before), "after": _named(columns, after)} for before, after in body.rows]
    fields = asdict(body) if is_dataclass(body) and not isinstance(body, type) else body._asdict() if hasattr(body, "_asdict") else None
    return body if fields is None else {name: value for name, value in fields.items() if value not in ("", None)}


def _named(columns: Sequence[Column], row: Row | None) -> Any:
    return None if row is None else {column.name: _shown(column, value) for column, value in zip(columns, row, strict=True)}


def _shown(column: Column, value: Any) -> Any:
    """Return a value as people read it; documents whose bytes are kept as their text."""
    if column.type == "json" and isinstance(value, bytes):
        from dblog_tasks.mysql.json_binary import json_text  # noqa: PLC0415 - seldom needed

        return json_text(value)
    return column.shown(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    return str(value)


def _as_json(event: Event) -> str:
    return orjson.dumps(_record(event), default=_plain, option=orjson.OPT_APPEND_NEWLINE).decode()


def _as_text(event: Event) -> str:
    record = _record(event)
    body = orjson.dumps(record.pop("body"), default=_plain).decode()
    return "\t".join("" if value is None else str(value) for value in record.values()) + f"\t{body}\n"


FORMS: Mapping[str, Callable[[Event], str]] = {"json": _as_json, "text": _as_text}


def inspect(
    logs: Logs,
    /,
    *,
    driver: Driver,
    filters: Filters = Filters(),
    schema: Schema = "",
    storage_options: StorageOptions = [],  # noqa: B006
    index: Index = "",
) -> int:
    """Say what a log holds: changes over time, the biggest transactions, what could not be undone, and suspects with a plan line to paste.

    Example: dblog inspect /var/lib/mysql/mysql-bin.0* --driver mysql
    """
    from dblog_tasks.inspection import inspect_text  # noqa: PLC0415
    from dblog_tasks.survey import survey  # noqa: PLC0415

    found = survey(_progressing(_read(_request(logs, driver, filters, schema, storage_options, index=index))))
    for piece in inspect_text(found, urls=logs, driver=driver, schema=schema, storage_options=storage_options):
        sys.stdout.write(piece)
    return DONE


class _progress:  # noqa: N801 - used like a function
    """A progress bar on a terminal, with the last place that was read; nothing in a pipe."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Callable[[str, int | None], None]:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415
            from rich.progress import Progress  # noqa: PLC0415

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._what, total=None)
            self._bar.start()
        return self._advance

    def _advance(self, place: str, total: int | None = None) -> None:
        """Note a step; `total` is the number of steps, None where nobody knows."""
        if self._bar:
            self._bar.update(self._task, advance=1, total=total, description=f"{self._what} {place}")

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


def _progressing(found: Iterable[Event]) -> Iterator[Event]:
    with _progress("reading") as advance:
        for number, event in enumerate(found):
            if number % 20_000 == 0:
                advance(event.position.value, None)
            yield event
