"""What kind of statement a QUERY event holds, told from its first words. No I/O.

Only what must be known is told apart: where transactions begin and end, and whether data or definitions may have changed. A
statement that is not in the table may have changed anything: it counts as DATA.
"""

from __future__ import annotations

from collections.abc import Mapping
import re

BEGIN, COMMIT, ROLLBACK, ROLLBACK_TO, XA_START, XA_END, XA_COMMIT, XA_ROLLBACK = (
    "begin",
    "commit",
    "rollback",
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
    "SAVEPOINT": NOTHING,
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


def starts_transaction(text: bytes) -> bool:
    """Return whether a CREATE TABLE … SELECT is followed by its rows in the same transaction (MySQL 8.0.21 and later)."""
    return text[-64:].rstrip(b" \t\r\n;").upper().endswith(b"START TRANSACTION")
