"""The verb: from logs to a plan. One part a log file, in any order and on any runner; then the second pass and the manifest.

    PlanRequest ─ find_files ─▶ files ─ plan_file each ─▶ LogPart each ─ finish_plan ─▶ Plan

Law: parts pass small values (names, counts, positions); steps lie in the plan's folder. The same request gives the same parts
whoever makes them, so a part that is made twice is one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
import re
from threading import Event as CancelEvent
from typing import Any

from dblog_tasks import ledger as words, plan as plans, storage
from dblog_tasks.backend import Backend, OpenOptions, PassedOver, default_registry, open_options
from dblog_tasks.conflicts import HARD, KEYS_COUNTED_MAX, SOFT, ConflictSearch
from dblog_tasks.errors import InvalidCheckpoint, InvalidInput, OutputExists, TruncatedLog
from dblog_tasks.event import Checkpoint, CommandChange, Event, Position, RowChanges, Source
from dblog_tasks.filters import any_of, by_table
from dblog_tasks.ledger import Ledger
from dblog_tasks.missing import check_found, names_asked_for
from dblog_tasks.part import COMMAND, CONFLICTS, OMITTED, STEPS, LogPart, PartWriter, SegmentWriter, dumped
from dblog_tasks.plan import Conflicts, Plan, manifest_of
from dblog_tasks.request import PlanRequest, parse_time, selection
from dblog_tasks.storage import LogFile

__all__ = [
    "PlanRequest",
    "Progress",
    "find_files",
    "finish_plan",
    "folder_of",
    "folder_stem",
    "last_plan",
    "located",
    "make_plan",
    "parse_time",
    "plan_file",
    "read_events",
    "ready_parts",
    "selection",
    "slug",
]

Progress = Callable[[LogPart, int], None]  # a part that is done, and how many there are


def find_files(request: PlanRequest) -> tuple[LogFile, ...]:
    """Return the files that hold the part of the log that is asked for, in log order."""
    files = storage.find_logs(request.logs, request.storage_options)
    for name in (names := [file.name for file in files]):
        if not name.isprintable():  # it stands in positions, and so in JSON and in lines of text
            raise InvalidInput(f"a file is called {name!r}", hint="give it a name of printable characters")
    first = _index(names, request.start.position) if request.start else 0
    last = _index(names, request.stop, is_stop=True) if request.stop else len(files) - 1
    key: Callable[[Position], Any] = getattr(default_registry.get(request.driver), "position_key", lambda position: position.value)
    backwards = request.start and request.stop and not request.resume and key(request.start.position) > key(request.stop)
    if first > last or backwards:
        raise InvalidInput(f"the start {request.start.position.value} lies after the stop {request.stop.value}")
    return files[first : last + 1]


def _index(names: Sequence[str], position: Position, *, is_stop: bool = False) -> int:
    name = position.value.rpartition(":")[0]
    if name in names:
        return names.index(name)
    if not name and (len(names) == 1 or "/" in position.value):  # an LSN is ordered over all files: each is asked for what comes after it
        return len(names) - 1 if is_stop else 0
    raise InvalidCheckpoint(f"position {position.value} is not in these logs", hint=f"they are {names[0]} to {names[-1]}")


def plan_file(request: PlanRequest, file: LogFile, files: Sequence[LogFile], cancel: CancelEvent | None = None) -> LogPart:
    """Write the steps of one log file below the plan's folder and return what was found. `request.out` is the plan's folder."""
    return _passed_over(request, file, files, cancel) or _read_file(request, file, files, cancel)


def _passed_over(request: PlanRequest, file: LogFile, files: Sequence[LogFile], cancel: CancelEvent | None) -> LogPart | None:
    """Return the part of a file of which an index shows that nothing is needed; None for any other."""
    ledger = Ledger()
    options = _options(request, file, ledger, cancel, first=file == files[0], last=file == files[-1])
    pass_over: Callable[[OpenOptions], PassedOver | None] | None = getattr(default_registry.get(request.driver), "pass_over", None)
    found = pass_over(options) if pass_over and request.index else None
    if found is None:
        return None
    log = (file.name, found.checkpoint.log)
    return LogPart(log, options.checkpoint, found.checkpoint, ledger, span=found.span, unread=found.unread)


def _read_file(request: PlanRequest, file: LogFile, files: Sequence[LogFile], cancel: CancelEvent | None) -> LogPart:
    ledger, last = Ledger(), file == files[-1]
    waits = request.resume and last
    given = (request.out, file.name, ledger, request.storage_options)
    with closing(PartWriter(*given, tail_waits=waits, carries=request.resume, asked_for=names_asked_for(request.selection))) as writer:
        options = replace(_options(request, file, ledger, cancel, first=file == files[0], last=last), lines=writer)
        with default_registry.get(request.driver).open(options) as decoder:
            try:
                for event in decoder:
                    writer.add(event)
            except TruncatedLog:
                if not waits:  # a file the server still writes: what is whole is planned, the rest next time
                    raise
            segments = writer.finish()
    end = request.stop if last and request.stop else None
    checkpoint: Checkpoint = getattr(decoder, "checkpoint", Checkpoint())
    return LogPart(
        (file.name, checkpoint.log),
        options.checkpoint,
        checkpoint._replace(position=end) if end else checkpoint,
        ledger,
        segments,
        {table: dict(counts) for table, counts in writer.tables.items()},
        tuple(writer.biggest),
        writer.transaction_count,
        (writer.partly, tuple(sorted(writer.also_touched))),
        writer.omissions,
        frozenset(writer.named),
        getattr(decoder, "span", None),
        writer.omitted_later,
        tuple(sorted(getattr(getattr(decoder, "cascades", None), "reached", ()))),
        frozenset(getattr(getattr(decoder, "xa", None), "prepared", ())),
        tuple(getattr(getattr(decoder, "xa", None), "ended", ())),
        tuple(writer.pending.values()),
        frozenset(getattr(decoder, "unread", ())),
    )


def _carried(request: PlanRequest, parts: Sequence[LogPart], cancel: CancelEvent | None) -> Iterator[LogPart]:
    """Yield parts of the log before these, one for each transaction that an earlier run left prepared and these commit."""
    wanted = plans.prepared_before(parts) if request.resume else set()
    given = (wanted, request.storage_options, default_registry.get(request.driver))
    for pending in plans.pending_of(request.out.rpartition("/")[0], folder_stem(request), *given) if wanted else ():
        start, stop = (Position(request.driver, place) for place in (pending.start, pending.end))
        again = replace(request, start=Checkpoint(position=start), stop=stop)
        with suppress(InvalidCheckpoint):  # the file is gone: the manifest says so
            files = find_files(again)
            yield replace(plan_file(again, files[0], files, cancel), start=parts[0].start, omitted_later=1)  # not all between is here


def _options(request: PlanRequest, file: LogFile, ledger: Ledger, cancel: CancelEvent | None, *, first: bool, last: bool) -> OpenOptions:
    return open_options(
        source=Source(request.driver, request.source or _series(file)),
        path=file.url,
        log=request.logs,
        checkpoint=request.start if first or ":" not in request.start.position.value else Checkpoint(),
        stop=request.stop if last or ":" not in request.stop.value else Position(),
        selection=request.selection,
        ledger=ledger,
        whole_transactions=request.whole_transactions,
        own_replays=request.own_replays,
        changes_only=not names_asked_for(request.selection),  # such a name may be of a transaction without changes
        files=(file,),
        **_everywhere(request, cancel),
    )


def _everywhere(request: PlanRequest, cancel: CancelEvent | None) -> dict[str, Any]:
    """Return the options that hold for every part of a log."""
    given = {name: getattr(request, name) for name in ("storage_options", "schema", "on_damage", "index", "format")}
    return {**given, "cancel": cancel}


def read_events(request: PlanRequest, cancel: CancelEvent | None = None, *, ledger: Ledger | None = None) -> Iterator[Event]:
    """Yield the events a plan of this request would be made from, in log order; `ledger` counts what is left out."""
    files = find_files(request)
    options = open_options(
        source=Source(request.driver, request.source) if request.source else None,
        path=tuple(file.url for file in files),
        checkpoint=request.start,
        stop=request.stop,
        selection=request.selection,
        whole_transactions=request.whole_transactions,
        own_replays=request.own_replays,
        files=files,
        ledger=ledger,
        **_everywhere(request, cancel),
    )
    with default_registry.get(request.driver).open(options) as decoder:
        yield from decoder


def finish_plan(request: PlanRequest, parts: Sequence[LogPart], cancel: CancelEvent | None = None) -> Plan:
    """Look for conflicts, write the manifest and return the plan; the parts are in log order.

    Raises InvalidInput when what was asked for is not in the logs at all: a transaction, GTID set, thread or the time window, or when
    they do not tell of any change what was asked. The first of the runs that resume warns of it: it may come yet.
    """
    parts = [*_carried(request, parts, cancel), *parts]
    if not request.start or not request.resume:  # a later run is of what came since
        check_found(request.selection, parts, may_come=request.resume)
    source = Source(request.driver, request.source or parts[0].end.source.name)
    draft = manifest_of(request.driver, source, request.filter, parts, Conflicts())
    conflicts = Conflicts(position=parts[-1].end.position.value)
    if draft["tables"]:
        conflicts = _conflicts(request, Plan(request.out, draft, request.storage_options), parts, cancel)
    manifest = manifest_of(request.driver, source, request.filter, parts, conflicts)
    made = plans.write_manifest(request.out, manifest, request.storage_options)
    if made.id != manifest["plan"] and not request.resume:
        raise OutputExists("another plan was finished here meanwhile", where=request.out, hint="give another --out")
    return made


def _conflicts(request: PlanRequest, draft: Plan, parts: Sequence[LogPart], cancel: CancelEvent | None) -> Conflicts:
    """Go over the plan's tables once more, from its first step to the end of the logs, unless nothing there can be of anybody else."""
    search = ConflictSearch(lambda: forward(draft), draft.positions)
    writer = SegmentWriter(request.out, CONFLICTS, "later", request.storage_options)
    try:
        if _undoes_all(request, draft.ledger, parts):
            if draft.ledger.rows_undone <= KEYS_COUNTED_MAX:
                search.count_keys()
            latest = max((part.span[1] for part in parts if part.span), default=None)
            return Conflicts(0, 0, draft.end.position.value, latest.isoformat() if latest else "", {}, (), search.keys)
        with default_registry.get(request.driver).open(later_options(request, draft, cancel)) as decoder:
            for conflict in search.find(until_torn(decoder) if request.resume else decoder):
                if writer.add(dumped(conflict.to_json()), events=1):
                    writer.flush()
            known = getattr(decoder, "checkpoint", Checkpoint()).position.value
            span = getattr(decoder, "span", None)
            counts = (search.counts[HARD], search.counts[SOFT])
            return Conflicts(*counts, known, span[1].isoformat() if span else "", search.unknown, tuple(writer.finish()), search.keys)
    finally:
        writer.close()
        search.close()


# What a plan leaves out without leaving out a change of its own tables after its first step.
_ELSEWHERE = frozenset({words.STRUCTURE, words.OTHER_TABLE, words.BEFORE_START, words.ROLLED_BACK, words.NO_DATA_CHANGE})


def _undoes_all(request: PlanRequest, ledger: Ledger, parts: Sequence[LogPart]) -> bool:
    """Return whether every change of the plan's tables from its first step to the end of the logs is a step itself."""
    holding = [index for index, part in enumerate(parts) if part.ledger.undone]
    omitted = parts[holding[0]].omitted_later or any(part.ledger.omitted for part in parts[holding[0] + 1 :])
    left_out = set(ledger.not_needed).union(*(part.unread for part in parts)) - {words.NOT_READ}
    return not (omitted or ledger.rows_not_needed or request.stop or left_out - _ELSEWHERE)


def later_options(request: PlanRequest, draft: Plan, cancel: CancelEvent | None) -> OpenOptions:
    """Return how to open the logs from a plan's first step to their end, for the plan's tables."""
    from glob import escape  # noqa: PLC0415 - only here

    tables = [table for table, counts in draft.manifest["tables"].items() if COMMAND not in counts]
    start = Checkpoint(position=_first_start(draft) or Position())
    files = find_files(replace(request, stop=Position(), start=start))
    return open_options(
        path=tuple(file.url for file in files),
        checkpoint=start,
        selection=(any_of(*(by_table(escape(table)) for table in tables)),) if tables else (),
        own_replays=True,  # what we undid already is a later change like any other
        files=files,
        **_everywhere(request, cancel),
    )


def until_torn(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events of a log that is still being written: its torn end waits for the next run."""
    with suppress(TruncatedLog):
        yield from events


def _first_start(draft: Plan) -> Position | None:
    """Return where the transaction of the first step starts; None when it has none: then the logs are read from their beginning."""
    for segment in draft.segments(STEPS)[:1]:
        starts: list[str] = []
        for line in draft.lines(segment):
            if "transaction" in line:
                starts.append(line["start"])
            elif "at" in line:
                return None if line["in"] is None else Position(draft.manifest["driver"], starts[line["in"]])
    return None


def forward(draft: Plan) -> Iterator[tuple[str, RowChanges | CommandChange]]:
    """Yield position and changes of the steps, in log order, as the log has them."""
    for segment in draft.segments(STEPS):
        for step in draft.steps_of(segment):
            if isinstance(step.operation, RowChanges | CommandChange):
                yield step.checkpoint.position.value, step.operation.reverse()


def make_plan(request: PlanRequest, *, jobs: int = 1, progress: Progress | None = None, cancel: CancelEvent | None = None) -> Plan | None:
    """Make a plan from beginning to end in this process, or in `jobs` processes; nothing is left behind when it fails.

    With `request.resume` None is returned when nothing came since the last plan. Raises DblogError.
    """
    request = located(request)
    if not request.resume:
        _refuse_existing(request.out, request.storage_options)
    existed = bool(storage.list_folder(request.out, request.storage_options))
    try:
        files = find_files(request)
        parts = []
        for part in _parts(request, files, jobs, cancel):
            parts.append(part)
            if progress:
                progress(part, len(files))
        ready = ready_parts(parts, request.start)
        if not ready and not request.resume:
            raise TruncatedLog("the log holds no event yet", where=files[-1].url, hint="was it copied completely?")
        return finish_plan(request, ready, cancel) if ready else None
    except BaseException:
        if not existed and not request.resume and not storage.exists(storage.join(request.out, plans.MANIFEST), request.storage_options):
            storage.remove_folder(request.out, request.storage_options)
        raise


def _refuse_existing(url: str, storage_options: Mapping[str, Any]) -> None:
    """Raise OutputExists when something is where a plan should go."""
    held = set(storage.list_folder(url, storage_options))
    if plans.MANIFEST in held:
        raise OutputExists("a plan is here already", where=url, hint="give another --out, or remove it")
    if held - {STEPS, OMITTED, CONFLICTS}:
        raise OutputExists(f"the folder is not empty: {min(held)}", where=url, hint="give another --out")
    if not held and storage.is_file(url, storage_options):
        raise OutputExists("a file is here already", where=url, hint="a plan is a folder: give another --out")


def ready_parts(parts: Sequence[LogPart], start: Checkpoint) -> list[LogPart]:
    """Return the parts that lead further than `start`: a file that is being begun has no end yet and waits."""
    ready = [part for part in parts if part.end.position]
    return [] if all(part.end.position == start.position for part in ready) else ready


def _parts(request: PlanRequest, files: Sequence[LogFile], jobs: int, cancel: CancelEvent | None) -> Iterator[LogPart]:
    over: dict[LogFile, LogPart] = {}
    if request.index:  # whatever is read afterwards is read whole, so these come first and together
        asked = storage.ask_ahead(lambda file: _passed_over(request, file, files, cancel), files, request.storage_options)
        over = {file: part for file, part in zip(files, asked, strict=True) if part is not None}
    rest = [file for file in files if file not in over]
    coming = _read_files(request, rest, files, jobs, cancel)
    yield from (over[file] if file in over else next(coming) for file in files)


def _read_files(
    request: PlanRequest, chosen: Sequence[LogFile], files: Sequence[LogFile], jobs: int, cancel: CancelEvent | None
) -> Iterator[LogPart]:
    if jobs <= 1 or len(chosen) <= 1:
        yield from (_read_file(request, file, files, cancel) for file in chosen)
        return
    from dblog_tasks.processes import in_processes  # noqa: PLC0415 - takes long to import

    yield from in_processes(jobs, _read_file, [request] * len(chosen), chosen, [files] * len(chosen), [None] * len(chosen))


def located(request: PlanRequest) -> PlanRequest:
    """Return the request with the plan's own folder as `out`.

    With `resume` that is named by source, filter and start, and the start is where the last plan ended.
    """
    if not request.resume:
        return request
    last = last_plan(request.out, folder_stem(request), request.storage_options, default_registry.get(request.driver))
    start = last.end if last else request.start
    return replace(request, start=start, out=folder_of(request, start))


def folder_of(request: PlanRequest, start: Checkpoint) -> str:
    """Return where the plan of this source and filter that starts there lies; `request.out` holds the plans."""
    return storage.join(request.out, f"{folder_stem(request)}{slug(start.position.value or 'begin')}")


def folder_stem(request: PlanRequest) -> str:
    """Return how the folders of plans of this source and filter begin."""
    name = request.source or _series(storage.find_logs(request.logs, request.storage_options)[0])
    return f"{slug(name)}-{plans.filter_id(request.filter)}-"


def _series(file: LogFile) -> str:
    """Return what a log is called when nobody names its source: the same wherever it lies."""
    return file.name.rpartition(".")[0] or file.name


def slug(text: str) -> str:
    """Return the text as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_") or "_"


def last_plan(folder: str, stem: str, storage_options: Mapping[str, Any], backend: Backend) -> Plan | None:
    """Return the plan of this source and filter that reaches furthest; None when there is none."""
    names = [name for name in storage.list_folder(folder, storage_options) if name.startswith(stem)]
    found = [storage.join(folder, name) for name in names if storage.exists(storage.join(folder, name, plans.MANIFEST), storage_options)]
    key: Callable[[Position], Any] = getattr(backend, "position_key", lambda position: position.value)
    made = [plans.read_plan(url, storage_options) for url in found]
    return max(made, key=lambda plan: key(plan.end.position), default=None)
