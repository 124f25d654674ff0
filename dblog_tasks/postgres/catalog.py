r"""What a schema says of tables: a file that `pg_dump -s` wrote.

Law: text in, a catalog out; no SQL is run. Everything that is no table, key, identity or publication is passed over, whatever it is.

    CREATE TABLE s.t (… GENERATED ALWAYS AS (…) STORED …)      columns, in order; which the database computes
    … ) INHERITS (s.p, …)                                      columns of its parents before its own
    ALTER TABLE [ONLY] s.t ADD CONSTRAINT … PRIMARY KEY (…)    key
    CREATE UNIQUE INDEX i ON s.t USING btree (…)               for REPLICA IDENTITY USING INDEX i; a key where its columns are NOT NULL
    ALTER TABLE ONLY s.t REPLICA IDENTITY FULL                 identity: d, where nothing is said
    ALTER TABLE ONLY s.t ATTACH PARTITION …                    a partition's columns are its own
    ALTER PUBLICATION p ADD TABLE ONLY s.t (a, b) WHERE (…)    row filters
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
import re

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Column
from dblog_tasks.postgres.names import qualified, type_name, unquoted

_DOLLAR = r"\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$"
_TOKEN = re.compile(
    rf"""(?P<space>\s+|--[^\n]*|/\*.*?\*/|^\\[^\n]*\n)
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<text>(?:\b[Ee]'(?:[^'\\]|\\.|'')*'|(?:\b[BbXxNnUu]&?)?'(?:[^']|'')*'|(?P<tag>{_DOLLAR}).*?(?P=tag)))
    |(?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*|[0-9][0-9A-Za-z_.]*)
    |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_COLUMN_ENDS = frozenset(
    {
        "NOT",
        "NULL",
        "DEFAULT",
        "GENERATED",
        "CONSTRAINT",
        "PRIMARY",
        "UNIQUE",
        "REFERENCES",
        "CHECK",
        "COLLATE",
        "STORAGE",
        "COMPRESSION",
        "OPTIONS",
    }
)
_NO_COLUMN = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "EXCLUDE", "FOREIGN", "LIKE"})
_IDENTITY = {"FULL": "f", "NOTHING": "n", "DEFAULT": "d", "USING": "i"}
STATEMENT_MAX = 1 << 20  # tokens


@dataclass(frozen=True, slots=True)
class Described:
    """A table as the schema describes it.

    Attributes:
        columns: in order; `generated` ones are computed by the database.
        key: names of the columns that tell rows apart: primary key, else the replica identity, else unique and not null.
        identity: replica identity: d, n, f or i.
        row_filtered: a publication has it with WHERE.
        required: names of the columns that are NOT NULL.
        primary: `key` is the primary key.
    """

    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    identity: str = "d"
    row_filtered: bool = False
    required: frozenset[str] = frozenset()
    primary: bool = False


@dataclass(slots=True)
class Catalog:
    """Tables by schema and name."""

    tables: dict[tuple[str, str], Described] = field(default_factory=dict)

    def table(self, schema: str, name: str) -> Described | None:
        """Return what is known of a table; None for nothing. A table without a schema is found where only one has that name."""
        if schema:
            return self.tables.get((schema, name))
        found = [described for (_, other), described in self.tables.items() if other == name]
        return found[0] if len(found) == 1 else None


def read_schema(text: str, where: str = "--schema") -> Catalog:
    """Return the catalog of a schema file. Raises InvalidInput when it holds no table."""
    catalog = Catalog()
    indexes: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {}
    for words in _statements(text):
        verb = _upper(words[:2])
        if verb[:1] == ["CREATE"] and "TABLE" in _upper(words[:4]):
            _create_table(words, catalog)
        elif verb == ["CREATE", "UNIQUE"]:
            _unique_index(words, indexes)
        elif verb == ["ALTER", "TABLE"]:
            _alter_table(words, catalog, indexes)
        elif verb == ["ALTER", "PUBLICATION"]:
            _alter_publication(words, catalog)
    if not catalog.tables:
        raise InvalidInput("no CREATE TABLE in the schema", where=where, hint="give a file that pg_dump -s wrote")
    for name, described in catalog.tables.items():
        if not described.key:
            catalog.tables[name] = replace(described, key=_unique_key(name, described, indexes))
    return catalog


def _statements(text: str) -> Iterator[list[str]]:
    words: list[str] = []
    for found in _TOKEN.finditer(text):
        if found.lastgroup == "space" or found["space"] is not None:
            continue
        if found[0] == ";":
            if words:
                yield words
            words = []
        elif len(words) < STATEMENT_MAX:
            words.append(found[0])
    if words:
        yield words


def _upper(words: list[str]) -> list[str]:
    return [word.upper() for word in words]


def _name(words: list[str], at: int) -> tuple[tuple[str, str] | None, int]:
    """Return the qualified name that begins there, and what follows it."""
    text = words[at] if at < len(words) else ""
    after = at + 1
    if after + 1 < len(words) and words[after] == ".":
        text, after = f"{text}.{words[after + 1]}", after + 2
    return qualified(_folded(text)), after


def _folded(text: str) -> str:
    """Return an identifier with what is not quoted in lower case."""
    return re.sub(r'"(?:[^"]|"")*"|[^"]+', lambda found: found[0] if found[0].startswith('"') else found[0].lower(), text)


def _parts(words: list[str], at: int) -> tuple[list[list[str]], int]:
    """Return what stands between the commas of the parentheses that open at `at`, and what follows them."""
    parts: list[list[str]] = [[]]
    depth = 0
    for number in range(at, len(words)):
        word = words[number]
        depth += (word in "([") - (word in ")]") if len(word) == 1 else 0
        if depth == 0:
            return [part for part in parts if part], number + 1
        if word == "," and depth == 1:
            parts.append([])
        elif number > at:
            parts[-1].append(word)
    return [part for part in parts if part], len(words)


def _create_table(words: list[str], catalog: Catalog) -> None:
    at = next((number for number, word in enumerate(words) if word.upper() == "TABLE"), 0) + 1
    if _upper(words[at : at + 3]) == ["IF", "NOT", "EXISTS"]:
        at += 3
    name, at = _name(words, at)
    if name is None or at >= len(words) or words[at] != "(":
        return
    parts, after = _parts(words, at)
    columns, required = _inherited(words, after, catalog)
    key: tuple[str, ...] = ()
    for part in parts:
        upper = _upper(part)
        if upper[0] in _NO_COLUMN:
            if "PRIMARY" in upper and "(" in part:
                key = tuple(unquoted(_folded(column[0])) for column in _parts(part, part.index("("))[0])
            continue
        column = _column(part)
        columns[column.name] = column
        if "NOT" in upper or "PRIMARY" in upper:
            required.add(column.name)
        if "PRIMARY" in upper:
            key = (column.name,)
    catalog.tables[name] = Described(tuple(columns.values()), key, required=frozenset(required), primary=bool(key))


def _inherited(words: list[str], at: int, catalog: Catalog) -> tuple[dict[str, Column], set[str]]:
    """Return the columns of the tables after INHERITS, which pg_dump does not write again, and those of them that are NOT NULL."""
    columns: dict[str, Column] = {}
    required: set[str] = set()
    if _upper(words[at : at + 1]) == ["INHERITS"]:
        parents = [catalog.tables.get(name) for part in _parts(words, at + 1)[0] if (name := _name(part, 0)[0]) is not None]
        for parent in filter(None, parents):
            columns |= {column.name: column for column in parent.columns if column.name not in columns}
            required |= parent.required
    return columns, required


def _column(part: list[str]) -> Column:
    upper = _upper(part)
    end = next((number for number in range(1, len(part)) if upper[number] in _COLUMN_ENDS), len(part))
    generated = any(
        upper[number : number + 3] == ["GENERATED", "ALWAYS", "AS"] and upper[number + 3 : number + 4] == ["("]
        for number in range(len(part))
    )
    text = ""
    for word in part[1:end]:
        text += word if word in ".()[]," or text.endswith((".", "(", ",")) or not text else f" {word}"
    return Column(unquoted(_folded(part[0])), type_name(text), generated=generated, auto_update=False)


def _unique_index(words: list[str], indexes: dict[str, tuple[tuple[str, str], tuple[str, ...]]]) -> None:
    upper = _upper(words)
    if "ON" not in upper:
        return
    on = upper.index("ON")
    index, _ = _name(words, on - 1)
    name, at = _name(words, on + (2 if upper[on + 1 : on + 2] == ["ONLY"] else 1))
    start = next((number for number in range(at, len(words)) if words[number] == "("), len(words))
    parts, after = _parts(words, start)
    plain = all(len(part) == 1 or _upper(part[1:]) in (["DESC"], ["ASC"]) for part in parts)
    if index is not None and name is not None and parts and plain and "WHERE" not in upper[after:]:
        indexes[index[1]] = (name, tuple(unquoted(_folded(part[0])) for part in parts))


def _alter_table(words: list[str], catalog: Catalog, indexes: dict[str, tuple[tuple[str, str], tuple[str, ...]]]) -> None:
    name, at = _name(words, 3 if _upper(words[2:3]) == ["ONLY"] else 2)
    described = catalog.tables.get(name) if name is not None else None
    if described is None or name is None:
        return
    upper = _upper(words)
    action = upper[at : at + 2]
    if action == ["ADD", "CONSTRAINT"] and "(" in words[at:]:
        start = words.index("(", at)
        columns = tuple(unquoted(_folded(part[0])) for part in _parts(words, start)[0])
        if upper[at + 3 : at + 5] == ["PRIMARY", "KEY"]:
            catalog.tables[name] = replace(described, key=columns, primary=True)
        elif upper[at + 3 : at + 4] == ["UNIQUE"]:
            indexes[unquoted(_folded(words[at + 2]))] = (name, columns)
    elif action == ["REPLICA", "IDENTITY"]:
        identity = _IDENTITY.get(upper[at + 2] if at + 2 < len(upper) else "", "d")
        catalog.tables[name] = replace(described, identity=identity)
        index = unquoted(_folded(words[-1]))
        if identity == "i" and not described.key and index in indexes:
            catalog.tables[name] = replace(described, identity=identity, key=indexes[index][1])


def _alter_publication(words: list[str], catalog: Catalog) -> None:
    upper = _upper(words)
    if "TABLE" not in upper:
        return
    at = upper.index("TABLE") + 1
    at += upper[at : at + 1] == ["ONLY"]
    name, after = _name(words, at)
    described = catalog.tables.get(name) if name is not None else None
    if described is not None and name is not None and "WHERE" in upper[after:]:
        catalog.tables[name] = replace(described, row_filtered=True)


def _unique_key(
    name: tuple[str, str], described: Described, indexes: dict[str, tuple[tuple[str, str], tuple[str, ...]]]
) -> tuple[str, ...]:
    return next((columns for table, columns in indexes.values() if table == name and set(columns) <= described.required), ())
