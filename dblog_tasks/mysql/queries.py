"""What kind of statement a QUERY event holds, told from its first words. No I/O.

Only what must be known is told apart: where transactions begin and end, and whether data or definitions may have changed. A
statement that is not in the table may have changed anything: it counts as DATA.
"""

from __future__ import annotations

from collections.abc import Mapping
import re
from typing import NamedTuple

BEGIN, COMMIT, ROLLBACK, SAVEPOINT, ROLLBACK_TO, XA_START, XA_END, XA_COMMIT, XA_ROLLBACK = (
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "rollback to",
    "xa start",
    "xa end",
    "xa commit",
    "xa rollback",
)
DATA, DEFINITION, NOTHING = "data", "definition", "nothing"

# First words, the longest match wins. Comments before and between them are passed over.
KINDS: Mapping[str, str] = {
    "BEGIN": BEGIN,
    "START TRANSACTION": BEGIN,
    "COMMIT": COMMIT,
    "ROLLBACK": ROLLBACK,
    "ROLLBACK TO": ROLLBACK_TO,
    "ROLLBACK WORK TO": ROLLBACK_TO,
    "SAVEPOINT": SAVEPOINT,
    "RELEASE SAVEPOINT": NOTHING,
    "XA START": XA_START,
    "XA BEGIN": XA_START,
    "XA END": XA_END,
    "XA COMMIT": XA_COMMIT,
    "XA ROLLBACK": XA_ROLLBACK,
    "XA PREPARE": NOTHING,
    "CREATE": DEFINITION,
    "ALTER": DEFINITION,
    "DROP": DEFINITION,
    "RENAME": DEFINITION,
    "TRUNCATE": DEFINITION,
    **dict.fromkeys(("CREATE USER", "ALTER USER", "DROP USER", "RENAME USER", "CREATE ROLE", "DROP ROLE", "GRANT", "REVOKE"), NOTHING),
    **dict.fromkeys(("CREATE OR REPLACE USER", "CREATE OR REPLACE ROLE"), NOTHING),
    **dict.fromkeys(("SET", "FLUSH", "ANALYZE TABLE", "ANALYZE LOCAL TABLE", "OPTIMIZE", "CHECK", "REPAIR", "DO"), NOTHING),
    "SET STATEMENT": DATA,  # MariaDB: settings for one statement, which follows; its ANALYZE runs the statement too
    **dict.fromkeys(("CREATE TEMPORARY TABLE", "DROP TEMPORARY TABLE", "CREATE OR REPLACE TEMPORARY TABLE"), NOTHING),
}
_WORDS_MAX = max(len(words.split()) for words in KINDS)
# A word, with what may stand before it: blanks, parentheses, comments, the marks around what is executed inside a comment.
_WORD = re.compile(rb"(?:[\s(]|/\*(?!M?!).*?\*/|--[ \t][^\n]*|#[^\n]*|/\*M?!\d*|\*/)*+([A-Za-z]+)", re.DOTALL)
HEAD = 4096  # bytes in which the first words must stand


def classify(text: bytes) -> str:
    """Return the kind of a statement: one of this module's constants."""
    head = text[:HEAD]
    words: list[str] = []
    at = 0
    while len(words) < _WORDS_MAX and (found := _WORD.match(head, at)):
        words.append(found[1].decode().upper())
        at = found.end()
    for count in range(len(words), 0, -1):
        kind = KINDS.get(" ".join(words[:count]))
        if kind:
            return kind
    return DATA


_NAME = rb"(?i)(?:SAVEPOINT|TO)\s+(?!SAVEPOINT\s)(`(?:[^`]|``)+`|[^\s;`]+)\s*;?\s*\Z"
# As servers write it: gtrid and bqual as hexadecimal digits, then the number of the format; people may leave out what is empty.
_XA_ID = rb"(?i)XA\s+[A-Za-z]+\s+X'([0-9A-Fa-f]*)'(?:\s*,\s*X'([0-9A-Fa-f]*)'(?:\s*,\s*([0-9]{1,20}))?)?"


def savepoint(text: bytes) -> bytes | None:
    """Return the name a SAVEPOINT or ROLLBACK TO gives, names of equal letters as one; None when it cannot be told."""
    found = re.search(_NAME, text[:HEAD])
    return found[1].strip(b"`").upper() if found and found[1].isascii() else None


class XaId(NamedTuple):
    """What tells an XA transaction from the others that are open with it."""

    format_id: int
    gtrid: bytes
    bqual: bytes

    def __str__(self) -> str:
        return f"X'{self.gtrid.hex()}',X'{self.bqual.hex()}',{self.format_id}"


def xa_id(text: bytes) -> XaId | None:
    """Return the id an XA statement names; None when it is not written as servers write it."""
    found = re.search(_XA_ID, text[:HEAD])
    if found is None or len(found[1]) % 2 or len(found[2] or b"") % 2:
        return None
    return XaId(int(found[3] or 1) & 0xFFFF_FFFF, bytes.fromhex(found[1].decode()), bytes.fromhex((found[2] or b"").decode()))


def starts_transaction(text: bytes) -> bool:
    """Return whether a CREATE TABLE … SELECT is followed by its rows in the same transaction (MySQL 8.0.21 and later)."""
    return text[-64:].rstrip(b" \t\r\n;").upper().endswith(b"START TRANSACTION")
