"""Bodies as the reference implementation's cases describe them, beside ours: field by field, where both keep a field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from dblog_tasks import Omission
from dblog_tasks.mysql import binlog
from tests.mysql import plain_rows

Case: TypeAlias = dict[str, Any]


NONE: Case = {"hex": ""}
IMPOSSIBLE = {"010203040506", "01020304"}  # bytes of a DATETIME(2) and TIME(2) beyond what a server keeps, which stand for nothing


def text(value: Any) -> str:
    """A text of a case."""
    return bytes.fromhex(value["hex"]).decode("utf-8", "replace") if isinstance(value, dict) else str(value)


def raw(value: Any) -> bytes:
    """Bytes of a case."""
    return bytes.fromhex(value["hex"])


def gtid_of(want: Case) -> tuple[str, int]:
    """Name and commit time of a GTID."""
    anonymous = want["EventType"] == binlog.ANONYMOUS_GTID
    return "" if anonymous else f"{UUID(hex=want['SID']['hex'])}:{want['GNO']}", want["ImmediateCommitTimestamp"]


def bitmap(bits: Sequence[bool]) -> bytes:
    """Bits as bytes, lowest first."""
    return sum(bit << index for index, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")


def cell(want: Case, got: Any) -> Any:
    """What the reference says of a value; where it has bytes only, what they say, read plainly."""
    if want["null"]:
        return None
    if want["value"] is not None:
        return _spelled(want, got)
    data = bytes.fromhex(want["raw_hex"])
    if want["type"] == 248:
        return int.from_bytes(data, "little")
    if want["raw_hex"] in IMPOSSIBLE:
        return got
    if want["type"] in (10, 11, 12, 17, 18, 19, 246):
        return plain_rows.READERS[want["type"]](data, 0, plain_rows.Column(want["type"], want["meta"]))[0]
    return data.decode() if isinstance(got, str) else data


def _spelled(want: Case, got: Any) -> Any:
    """A value that the reference decodes, in our spelling of it."""
    value = want["value"]
    if want["value_type"] == "time":
        return value.removesuffix("Z").replace("T", " ")[: 10 if want["type"] == 10 else None]
    if want["type"] == 11:
        return f"{value // 10000:02}:{value // 100 % 100:02}:{value % 100:02}"
    return float(value) if isinstance(got, float) else value


def images(want: list[list[Case]] | None, got: list[Any]) -> list[Any]:
    """Rows of a case, in the shape of ours."""
    return [tuple(cell(value, other) for value, other in zip(row, image, strict=True)) for row, image in zip(want or [], got, strict=True)]


def rows_of(want: Case, got: Any) -> tuple[Any, Any]:
    """Rows of the reference beside ours; where its rows have holes or it could not decode them, ours must be an omission."""
    cells = [value for name in ("rows", "before_rows", "after_rows") for row in want[name] or [] for value in row]
    if want["decode_error"] or any(value["skipped"] for value in cells):
        return "omitted", "omitted" if isinstance(got, Omission) else "rows"
    if isinstance(got, Omission):
        return (got.reason, "partial JSON update")
    assert want["schema"] == got.table.schema
    befores, afters = [row for row, _ in got.rows], [row for _, row in got.rows]
    if want["after_rows"]:
        return (images(want["before_rows"], befores), images(want["after_rows"], afters)), (befores, afters)
    one = [before if after is None else after for before, after in got.rows]
    return images(want["rows"], one), one


# The reference's type of a body -> what it says and what ours says, where both say something.
FIELDS: Mapping[str, Callable[[Case, Any], tuple[Any, Any]]] = {
    "types.IntvarEvent": lambda want, got: ((want["Type"], want["Value"]), (got.type, got.value)),
    "types.RotateEvent": lambda want, got: ((want["FileName"], want["Position"]), (got.file, got.position)),
    "types.RandEvent": lambda want, got: ((want["Seed1"], want["Seed2"]), (got.seed1, got.seed2)),
    "types.XIDEvent": lambda want, got: (want["XID"], got.xid),
    "types.IncidentEvent": lambda want, got: ((want["Type"], want["Message"]), (got.type, got.message)),
    "types.RowsQueryEvent": lambda want, got: (text(want["Query"]), got.text.decode()),
    "types.GTIDLogEvent": lambda want, got: (gtid_of(want), (got.gtid, got.committed)),
    "types.MetadataEvent": lambda want, got: (raw(want["PostHeader"]) + raw(want["Payload"]), got.data),
    "types.FmtDescEvent": lambda want, got: (
        (want["MySQLVersion"], want["CreateTime"], want["HasCheckSum"]),
        (got.server_version, got.created, got.checksum > 0),
    ),
    "types.QueryEvent": lambda want, got: (
        (text(want["Query"]), want["Schema"], want["SlaveProxyID"], want["ExecutionTime"], want["ErrorCode"]),
        (got.text.decode(), got.schema, got.thread, got.seconds, got.error),
    ),
    "types.XAPrepareLogEvent": lambda want, got: (
        (want["OnePhase"], want["FormatID"], raw(want["GTRID"]), raw(want["BQUAL"])),
        (got.one_phase, got.format_id, got.gtrid, got.bqual),
    ),
    "types.TableMapEvent": lambda want, got: (
        (want["Schema"], want["Table"], want["ColumnCount"], raw(want["NullBitmap"])),
        (got.schema, got.name, len(got.columns), bitmap([column.nullable for column in got.columns])),
    ),
    "types.TransactionPayloadEvent": lambda want, got: (len(raw(want["Payload"])) > got.size, True),
    "types.FileEvent": lambda want, got: ((want["FileID"], raw(want["BlockData"] or NONE)), (got.file_id, got.data)),
    "types.ExecLoadEvent": lambda want, got: (want["FileID"], got.file_id),
    "types.UserVarEvent": lambda want, got: (
        (want["Name"], want["IsNull"], want["Type"], want["Charset"], raw(want["Value"] or NONE), want["Flags"]),
        (got.name, got.null, got.type, got.charset, got.value, got.flags),
    ),
    "types.HeartbeatEvent": lambda want, got: (want["LogIdent"], got.file),
    "BinRowsEvent": rows_of,
    "mariadb.GTIDLogEvent": lambda want, got: (
        (str(want["DomainID"]), str(want["Sequence"])),
        (got.gtid.split("-")[0], got.gtid.split("-")[2]),
    ),
    "mariadb.AnnotateRowsLogEvent": lambda want, got: (text(want["Query"]), got.text.decode()),
    "mariadb.BinlogCheckpointLogEvent": lambda want, got: (want["FileName"], got.file),
    "mariadb.GTIDListLogEvent": lambda want, got: (
        tuple(f"{one['DomainID']}-{one['ServerID']}-{one['Sequence']}" for one in want["GTIDs"]),
        got.gtids,
    ),
}
