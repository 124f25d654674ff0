"""The inverse plan: what a replay really changed, as a plan that takes it back.

Law: the replay is a log like any other, a batch is a transaction in it, and what it did to a row is a change. Segments of a batch are
stored before the batch is committed, and named in its note: the manifest is made of the notes, so what was not committed is not in it.

    inverse-RUN-of-PLAN/    beside the plan, RUN for each time a plan is begun anew
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson

from dblog_tasks import storage
from dblog_tasks.event import Checkpoint, JsonObject, Position, Row, RowChanges, Source, Transaction
from dblog_tasks.ledger import Ledger
from dblog_tasks.part import LogPart, PartWriter, Segment
from dblog_tasks.plan import MANIFEST, Conflicts, Plan, manifest_of
from dblog_tasks.target import UNKNOWN, Effect

ROWS_MAX = 1000  # of one event


@dataclass(frozen=True, slots=True)
class Replayed:
    """One event of the replay, as a plan is made of events (see `event.Event`)."""

    position: Position
    body: RowChanges
    transaction_info: Transaction
    source: Source = Source()
    kind: str = "replay"
    raw: bytes = b""
    time: datetime | None = None

    @property
    def transaction(self) -> str:
        return self.transaction_info.id

    @property
    def table(self) -> tuple[str, str]:
        return self.body.table.schema, self.body.table.name


def inverse_url(plan_url: str, run: str) -> str:
    """Return where the inverse plan of a replay is."""
    folder, _, name = plan_url.rstrip("/").rpartition("/")
    return f"{folder}{'/' if folder or plan_url.startswith('/') else ''}inverse-{run}-of-{name}"


def store_batch(url: str, run: str, batch: int, effects: Sequence[Effect], storage_options: Mapping[str, Any]) -> JsonObject:
    """Store what a batch did and return what its note says of that; it is durable on return, where the store is."""
    ledger = Ledger()
    writer = PartWriter(url, f"batch{batch:06}", ledger, storage_options)
    start, end = _position(run, batch, 0), _position(run, batch + 1, 0)
    transaction = Transaction(f"replay-{run}-{batch}", start, end, datetime.now(UTC))
    try:
        for number, change in enumerate(_changes(effects), 1):
            ledger.total += 1
            writer.add(Replayed(_position(run, batch, number), change, transaction))
        segments = writer.finish()
    finally:
        writer.close()
    return {
        "start": start.value,
        "end": end.value,
        "ledger": ledger.to_json(),
        "segments": [segment.to_json() for segment in segments],
        "tables": {table: dict(counts) for table, counts in writer.tables.items()},
    }


def _position(run: str, batch: int, number: int) -> Position:
    return Position("", f"replay-{run}:{batch * 1_000_000_000 + number}")


def _changes(effects: Iterable[Effect]) -> Iterator[RowChanges]:
    """Yield the effects as changes, neighbours of one table and kind together."""
    for (table, _, _), some in groupby(effects, key=lambda effect: (effect.table, effect.before is None, effect.after is None)):
        pairs = [(_whole(effect.before), _whole(effect.after)) for effect in some]
        for at in range(0, len(pairs), ROWS_MAX):
            yield RowChanges(table.live, pairs[at : at + ROWS_MAX])


def _whole(row: Row | None) -> Row | None:
    """Return a row without what is not known of it: a column without a place in the plan, of a row without a key."""
    return row if row is None or UNKNOWN not in row else tuple([None if value is UNKNOWN else value for value in row])


def store_manifest(url: str, plan: Plan, run: str, batches: Sequence[JsonObject]) -> str:
    """Make the stored batches a plan, in place of an earlier one of fewer batches; return its id."""
    driver = str(plan.manifest["driver"])
    source = Source.from_json(plan.manifest["source"])
    parts = [_part(driver, source, run, number, batch) for number, batch in enumerate(batches) if batch["segments"]]
    filters = {"selection": [], "stop": "", "whole_transactions": False, "own_replays": True, "inverse_of": plan.id, "run": run}
    known = Conflicts(position=batches[-1]["end"], time=datetime.now(UTC).isoformat(timespec="seconds"))
    manifest = manifest_of(driver, source, filters, parts, known)
    data = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    storage.write_file(storage.join(url, MANIFEST), data, plan.storage_options)
    return str(manifest["plan"])


def _part(driver: str, source: Source, run: str, number: int, batch: JsonObject) -> LogPart:
    start, end = (Checkpoint(source, Position(driver, batch[name]), run) for name in ("start", "end"))
    ledger = Ledger.from_json(batch["ledger"])
    transaction = Transaction(f"replay-{run}-{number}", start.position, end.position)
    return LogPart(
        (f"replay-{run}", run),
        start,
        end,
        ledger,
        tuple(Segment(**segment) for segment in batch["segments"]),
        batch["tables"],
        ((ledger.rows_undone, transaction),),
        1,
    )
