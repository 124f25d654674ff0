"""Names of tables, columns and types as the server writes them: `quote_identifier` and `format_type`, and back.

Law: text only.

    shop."Order ""x"".y"     a quoted part may hold anything, its quotes doubled
    character varying(100)[]     the type without its sizes is `character varying[]`
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
PART = r'(?:"(?:[^"]|"")+"|[^\s".,:\[\]()\x27]+)'
_QUALIFIED = re.compile(rf"(?:({PART})\.)?({PART})")
_SIZES = re.compile(r"\([^()\"]*\)")
_INTERVAL = re.compile(r"interval (?:year|month|day|hour|minute|second)[a-z ]*")
_SHORT = {
    "char": '"char"',  # as wal2json writes it; `char` of SQL has another name, and a size
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "varchar": "character varying",
    "bpchar": "character",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
    "varbit": "bit varying",
    "decimal": "numeric",
}


def unquoted(part: str) -> str:
    """Return the name that a part of an identifier stands for."""
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def quoted(name: str) -> str:
    """Return a name as an identifier that is taken as it is, whatever words are reserved."""
    return '"' + name.replace('"', '""') + '"'


def shown(name: str) -> str:
    """Return a name as people write it: quoted only where it must be. For what a person pastes; reserved words are not looked up."""
    return name if _PLAIN.fullmatch(name) else quoted(name)


def qualified(text: str) -> tuple[str, str] | None:
    """Return schema (empty: none) and name of a table; None when the text is no name."""
    found = _QUALIFIED.fullmatch(text)
    return None if found is None else (unquoted(found[1] or ""), unquoted(found[2]))


def type_name(text: str) -> str:
    """Return a type's name without its sizes, as format_type gives it."""
    if '"' in text:
        return text
    plain = " ".join(_SIZES.sub("", text).split())
    element, array = (plain[:-2], "[]") if plain.endswith("[]") else (plain, "")
    element = "interval" if _INTERVAL.fullmatch(element) else element
    return _SHORT.get(element, element) + array
