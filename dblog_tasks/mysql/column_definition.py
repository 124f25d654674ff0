"""A column of a CREATE TABLE statement: name, type, attributes. Text in, values out; no I/O.

Law: what is not understood raises InvalidInput with line, table and column; types get one name each, the one that servers print,
with the sizes that matter for its values (`int`, `decimal(12,2)`, `datetime(6)`), all geometry types are `geometry`.

    name type [(sizes or members)] attribute…

_ATTRIBUTES has every attribute of the grammars of MySQL 9.7 and MariaDB 11.8; of most of them only the end matters here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dblog_tasks.event import Column
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER, charset_named
from dblog_tasks.mysql.statements import Cursor


@dataclass(slots=True)
class Draft:
    """A column while its definition is read. `charset` empty: the table's."""

    name: str
    base: str = ""
    sizes: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    unsigned: bool = False
    charset: str = ""
    nullable: bool | None = None
    has_default: bool = False
    generated: bool = False
    auto_update: bool = False
    row_version: bool = False
    row_end: bool = False
    versioned: bool = False
    primary: bool = False
    unique: bool = False


def read_column(cursor: Cursor) -> Draft:
    """Return the column whose definition is next; the cursor stands at the comma or parenthesis after it."""
    draft, where = Draft(cursor.name()), cursor.where
    cursor.where += f", column {draft.name}"
    _read_type(cursor, draft)
    while not (cursor.sees(",") or cursor.sees(")")):
        read = _ATTRIBUTES.get(cursor.peek().word)
        if read is not None:
            cursor.take()
            read(cursor, draft)
        elif cursor.peek(1).word == "=":  # an engine's own setting
            cursor.name()
            _skip_setting(cursor, draft)
        else:
            cursor.fail("a column attribute that is known")
    cursor.where = where
    return draft


def _read_type(cursor: Cursor, draft: Draft) -> None:
    long = next((words for words in _LONG_TYPES if cursor.accept(*words)), None)
    word = _LONG_TYPES[long] if long else cursor.peek().word.lower()
    draft.base = _TYPE_NAMES.get(word, word)
    if draft.base not in _TYPES:
        cursor.fail("a type that is known")
    if not long:
        cursor.take()
    if cursor.sees("(") and draft.base in ("enum", "set"):
        draft.labels = [label.rstrip(" ") for label in cursor.list_of(cursor.text)]
    elif cursor.sees("("):
        draft.sizes = cursor.list_of(cursor.number)
    if draft.base == "float" and len(draft.sizes) == 1 and draft.sizes[0] > 24:
        draft.base = "double"
    if word in ("nchar", "nvarchar"):
        draft.charset = "utf8mb3"
    if word == "serial":
        draft.unsigned, draft.nullable, draft.unique = True, False, True


def settle(cursor: Cursor, draft: Draft, charset: str) -> None:
    """Give the column the type and character set that the server gives it. `charset`: of the table."""
    if draft.base in _BINARY_FORMS or draft.base in ("enum", "set"):
        draft.charset = draft.charset or charset
        if not draft.charset:
            cursor.refuse("the character set is not stated", "add DEFAULT CHARSET=… to the table, as SHOW CREATE TABLE prints it")
        if draft.charset == "binary":
            draft.base = _BINARY_FORMS.get(draft.base, draft.base)
    else:
        draft.charset = _CHARSETS.get(draft.base, "")
    if draft.base in ("text", "blob") and draft.sizes:
        size = draft.sizes[0] * (BYTES_PER_CHARACTER[draft.charset] if draft.base == "text" else 1)
        draft.base = next(prefix for limit, prefix in _BLOB_SIZES if size <= limit) + draft.base
    if draft.base in ("enum", "set") and not draft.labels:
        cursor.refuse(f"an {draft.base} needs members")
    if draft.base in ("varchar", "varbinary") and not draft.sizes:
        cursor.refuse(f"a {draft.base} needs a length")


def column_of(draft: Draft) -> Column:
    """Return a settled column as events and plans know it."""
    sizes = _TYPES[draft.base](*draft.sizes[:2])
    implicit = draft.base == "timestamp" and draft.nullable is None and not draft.has_default and not draft.auto_update
    return Column(
        draft.name,
        draft.base + sizes,
        draft.unsigned,
        draft.charset,
        tuple(draft.labels),
        draft.generated,
        None if implicit else draft.auto_update,  # a bare TIMESTAMP: it depends on explicit_defaults_for_timestamp
    )


def _plain(*_sizes: int) -> str:
    return ""


def _length(size: int = 1, *_more: int) -> str:
    return f"({size})"


def _precision(digits: int = 10, scale: int = 0) -> str:
    return f"({digits},{scale})"


def _fraction(digits: int = 0, *_more: int) -> str:
    return f"({digits})" if digits else ""


_PLAIN_TYPES = (
    "tinyint smallint mediumint int bigint float double year date enum set json geometry vector uuid inet4 inet6 "
    "tinytext text mediumtext longtext tinyblob blob mediumblob longblob"
)
# Types and how their sizes are written; a display width is not.
_TYPES: Mapping[str, Callable[..., str]] = {
    **dict.fromkeys(_PLAIN_TYPES.split(), _plain),
    **dict.fromkeys(("char", "varchar", "binary", "varbinary", "bit"), _length),
    **dict.fromkeys(("time", "datetime", "timestamp"), _fraction),
    "decimal": _precision,
}
_GEOMETRIES = "point linestring polygon multipoint multilinestring multipolygon geometrycollection geomcollection"
_TYPE_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("bool", "boolean", "int1"), "tinyint"),
    "int2": "smallint",
    **dict.fromkeys(("int3", "middleint"), "mediumint"),
    **dict.fromkeys(("int4", "integer"), "int"),
    **dict.fromkeys(("int8", "serial"), "bigint"),
    **dict.fromkeys(("dec", "numeric", "fixed"), "decimal"),
    "float4": "float",
    **dict.fromkeys(("float8", "real"), "double"),
    **dict.fromkeys(("character", "nchar"), "char"),
    "nvarchar": "varchar",
    "long": "mediumtext",
    **dict.fromkeys(_GEOMETRIES.split(), "geometry"),
}
# Names of more than one word, the longest first.
_LONG_TYPES: Mapping[tuple[str, ...], str] = {
    ("NATIONAL", "CHARACTER", "VARYING"): "nvarchar",
    ("NATIONAL", "CHAR", "VARYING"): "nvarchar",
    ("LONG", "CHARACTER", "VARYING"): "mediumtext",
    ("LONG", "CHAR", "VARYING"): "mediumtext",
    ("NATIONAL", "VARCHAR"): "nvarchar",
    ("NCHAR", "VARCHAR"): "nvarchar",
    ("NCHAR", "VARYING"): "nvarchar",
    ("NATIONAL", "CHARACTER"): "nchar",
    ("NATIONAL", "CHAR"): "nchar",
    ("CHARACTER", "VARYING"): "varchar",
    ("CHAR", "VARYING"): "varchar",
    ("DOUBLE", "PRECISION"): "double",
    ("LONG", "VARBINARY"): "mediumblob",
    ("LONG", "VARCHAR"): "mediumtext",
}
# What a text type is in character set binary.
_BINARY_FORMS: Mapping[str, str] = {
    "char": "binary",
    "varchar": "varbinary",
    "tinytext": "tinyblob",
    "text": "blob",
    "mediumtext": "mediumblob",
    "longtext": "longblob",
}
_CHARSETS: Mapping[str, str] = {**dict.fromkeys(_BINARY_FORMS.values(), "binary"), "json": "utf8mb4"}
_BLOB_SIZES = ((0xFF, "tiny"), (0xFFFF, ""), (0xFFFFFF, "medium"), (float("inf"), "long"))


def read_charset(cursor: Cursor) -> str:
    """Read the name of a character set or collation; DEFAULT, and collations that name no character set, are empty."""
    cursor.accept("=")
    name = cursor.text() if cursor.peek().kind == "text" else cursor.name()
    charset = charset_named(name)
    if charset is None and name.lower() != "default" and not name.lower().startswith("uca1400"):
        cursor.refuse(f"{name!r:.40} is no character set or collation that is known")
    return charset or ""


# ---- attributes: each function goes past what belongs to it


def _idle(cursor: Cursor, draft: Draft) -> None:
    """Change nothing that matters here."""


def _set(**changes: object) -> Callable[[Cursor, Draft], None]:
    def read(cursor: Cursor, draft: Draft) -> None:
        for name, value in changes.items():
            setattr(draft, name, value)

    return read


def _not(cursor: Cursor, draft: Draft) -> None:
    if cursor.accept("NULL"):
        draft.nullable = False
    elif not (cursor.accept("ENFORCED") or cursor.accept("SECONDARY")):
        cursor.fail("NULL")


def _default(cursor: Cursor, draft: Draft) -> None:
    draft.has_default = True
    _skip_value(cursor)


def _on_update(cursor: Cursor, draft: Draft) -> None:
    cursor.expect("UPDATE")
    _skip_value(cursor)
    draft.auto_update = True


def _skip_value(cursor: Cursor) -> None:
    """Go past a literal, a function call or an expression in parentheses."""
    if cursor.accept("NEXT", "VALUE", "FOR"):
        cursor.qualified("")
        return
    _ = cursor.accept("-") or cursor.accept("+")
    if cursor.sees("("):
        cursor.skip_group()
        return
    cursor.take()
    while True:
        if cursor.sees("("):
            cursor.skip_group()
        elif cursor.accept("."):
            cursor.name()
        elif cursor.peek().kind in ("text", "number"):  # DATE'2001-01-01', _utf8mb4'text', 'text' 'and more'
            cursor.take()
        else:
            return


def _character_set(cursor: Cursor, draft: Draft) -> None:
    cursor.expect("SET")
    draft.charset = read_charset(cursor)


def _charset_word(cursor: Cursor, draft: Draft) -> None:
    draft.charset = read_charset(cursor)


def _collate(cursor: Cursor, draft: Draft) -> None:
    charset = read_charset(cursor)
    draft.charset = draft.charset or charset


def _generated(cursor: Cursor, draft: Draft) -> None:
    cursor.expect("ALWAYS", "AS")
    _as(cursor, draft)


def _as(cursor: Cursor, draft: Draft) -> None:
    draft.generated = True
    starts, ends = cursor.accept("ROW", "START"), cursor.accept("ROW", "END")
    if starts or ends:
        draft.row_version, draft.row_end, draft.nullable = True, ends, False
    else:
        cursor.skip_group()


def _key(**changes: object) -> Callable[[Cursor, Draft], None]:
    def read(cursor: Cursor, draft: Draft) -> None:
        cursor.accept("KEY")
        _set(**changes)(cursor, draft)

    return read


def _serial(cursor: Cursor, draft: Draft) -> None:
    cursor.expect("DEFAULT", "VALUE")
    draft.nullable, draft.unique = False, True


def _check(cursor: Cursor, draft: Draft) -> None:
    cursor.skip_group()


def _constraint(cursor: Cursor, draft: Draft) -> None:
    if not cursor.sees("CHECK"):
        cursor.name()
    cursor.expect("CHECK")
    _check(cursor, draft)


def _references(cursor: Cursor, draft: Draft) -> None:
    cursor.qualified("")
    if cursor.sees("("):
        cursor.skip_group()
    while cursor.accept("MATCH") or cursor.accept("ON", "DELETE") or cursor.accept("ON", "UPDATE"):
        _ = cursor.accept("SET") or cursor.accept("NO")
        cursor.name()


def _text(cursor: Cursor, draft: Draft) -> None:
    cursor.text()


def _skip_setting(cursor: Cursor, draft: Draft) -> None:
    cursor.accept("=")
    cursor.take()


def _compressed(cursor: Cursor, draft: Draft) -> None:
    if cursor.sees("="):
        _skip_setting(cursor, draft)


def _versioning(*, kept: bool) -> Callable[[Cursor, Draft], None]:
    def read(cursor: Cursor, draft: Draft) -> None:
        cursor.expect("SYSTEM", "VERSIONING")
        draft.versioned = kept

    return read


_ATTRIBUTES: Mapping[str, Callable[[Cursor, Draft], None]] = {
    **dict.fromkeys(("SIGNED", "BINARY", "VISIBLE", "INVISIBLE", "VIRTUAL", "STORED", "PERSISTENT", "ENFORCED"), _idle),
    **dict.fromkeys(("UNSIGNED", "ZEROFILL"), _set(unsigned=True)),
    **dict.fromkeys(("COLUMN_FORMAT", "STORAGE", "SRID", "REF_SYSTEM_ID"), _skip_setting),
    **dict.fromkeys(("ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"), _skip_setting),
    "NULL": _set(nullable=True),
    "NOT": _not,
    "DEFAULT": _default,
    "ON": _on_update,
    "AUTO_INCREMENT": _set(nullable=False),
    "ASCII": _set(charset="latin1"),
    "UNICODE": _set(charset="ucs2"),
    "BYTE": _set(charset="binary"),
    "CHARSET": _charset_word,
    "CHARACTER": _character_set,
    "CHAR": _character_set,
    "COLLATE": _collate,
    "GENERATED": _generated,
    "AS": _as,
    "PRIMARY": _key(primary=True),
    "KEY": _key(primary=True),
    "UNIQUE": _key(unique=True),
    "SERIAL": _serial,
    "CHECK": _check,
    "CONSTRAINT": _constraint,
    "REFERENCES": _references,
    "COMMENT": _text,
    "COMPRESSED": _compressed,
    "WITH": _versioning(kept=True),
    "WITHOUT": _versioning(kept=False),
}
