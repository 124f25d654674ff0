"""SQL text cut into statements, and statements into tokens, as MySQL's and MariaDB's clients and servers do. No I/O.

Law: knows how text is quoted, commented and ended, nothing of what it says. Statements are cut here (comments and DELIMITER are
the client's business), their tokens are sqlglot's.

    -- text, # text, /* text */               a comment
    /*!80023 text */, /*M!100301 text */      text, whatever the version; a comment for 99…, a version no server has
    DELIMITER text                            a line of the client: what ends the statements that follow

Source: "Comments" and "mysql Client Commands" in the manuals of MySQL 9.7 and MariaDB 11.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import re
from typing import NamedTuple, NoReturn, TypeVar

from dblog_tasks.errors import InvalidInput

T = TypeVar("T")


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with its line, comments blanked, conditional comments opened. Raises InvalidInput for what has no end."""
    lexemes, parts, depth, at, start, line = _lexemes(";"), list[str](), 0, 0, 0, 1
    while (found := lexemes.search(text, at)) is not None:
        kind, word = found.lastgroup, found.group()
        parts.append(text[at : found.start()])
        at = found.end()
        if kind == "unended":
            raise InvalidInput(f"{word} is not ended", where=f"schema, line {line + text.count(chr(10), start, at)}")
        if kind == "delimiter" and depth == 0 and not "".join(parts).strip():
            at = (text.find("\n", at) + 1) or len(text)
            lexemes, kind = _lexemes(text[found.end() : at].strip() or ";"), "end"
        if kind == "end" and depth == 0:
            yield _with_line("".join(parts), line)
            line += text.count("\n", start, at)
            parts, start = [], at
        elif kind in ("comment", "open", "close"):
            depth = max(0, depth + _DEPTH.get(kind, 0))
            parts.append("\n" * word.count("\n") or " ")
        else:
            parts.append(word)
    line, rest = _with_line("".join(parts) + text[at:], line)
    if depth:
        raise InvalidInput("/*! is not ended", where=f"schema, line {line}")
    yield line, rest


def _with_line(statement: str, line: int) -> tuple[int, str]:
    body = statement.lstrip()
    return line + statement.count("\n", 0, len(statement) - len(body)), body


# What must be known to see where a statement ends. END stands for the delimiter.
_LEXEMES = r"""
    (?P<quoted> '(?:[^'\\]++|\\.|'')*+' | "(?:[^"\\]++|\\.|"")*+" | `(?:[^`]++|``)*+` )
  | (?P<comment> --(?=[\s\x00-\x1f]|\Z)[^\n]* | \#[^\n]* | /\*M?!99\d{3,4}.*?\*/ | /\*(?!M?!).*?\*/ )
  | (?P<open> /\*M?!(?!99\d{3,4})(?:\d{5,6})? )
  | (?P<close> \*/ )
  | (?P<delimiter> ^[\ \t]*delimiter[\ \t]+ )
  | (?P<unended> ['"`] | /\* )
  | (?P<end> END )
"""
_DEPTH = {"open": 1, "close": -1}
_NESTING = {"(": 1, ")": -1}


def _lexemes(delimiter: str) -> re.Pattern[str]:
    return re.compile(_LEXEMES.replace("END", re.escape(delimiter)), re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE)


class Token(NamedTuple):
    """A token of a statement.

    Attributes:
        kind: word, sign, name (a quoted one), text, number, or end (after the last one).
        text: what it says, without quotes.
        word: `text` of a word or sign in upper case; of other tokens empty.
    """

    kind: str
    text: str
    word: str = ""


_END = Token("end", "the end")
_KINDS = {
    "IDENTIFIER": "name",
    "STRING": "text",
    "NATIONAL_STRING": "text",
    "NUMBER": "number",
    "HEX_STRING": "number",
    "BIT_STRING": "number",
}


def _tokens(statement: str, where: str) -> Iterator[Token]:
    from sqlglot import tokenize  # noqa: PLC0415 - a quarter of a second, and only a schema needs it
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        tokens = tokenize(statement, dialect="mysql")
    except SqlglotError as error:
        raise InvalidInput(f"not SQL: {error!s:.80}", where=where) from None
    for token in tokens:
        kind = _KINDS.get(token.token_type.name)
        if kind is None:  # PRIMARY KEY and the like are one token there
            yield from (
                Token("word" if word[0].isalnum() or word[0] in "_$" else "sign", word, word.upper()) for word in token.text.split()
            )
        else:
            yield Token(kind, token.text)


class Cursor:
    """The tokens of a statement, read from the front. `where` is told in errors."""

    def __init__(self, statement: str, line: int) -> None:
        self.where = f"schema, line {line}"
        self._tokens = list(_tokens(statement, self.where))
        self._at = 0

    def refuse(self, what: str, hint: str = "") -> NoReturn:
        """Raise InvalidInput with the place."""
        raise InvalidInput(what, where=self.where, hint=hint)

    def fail(self, expected: str) -> NoReturn:
        """Raise InvalidInput: something else is next."""
        self.refuse(f"{self.peek().text!r:.40} found, {expected} expected")

    def peek(self, ahead: int = 0) -> Token:
        """Return the next token, or one further on."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else _END

    def take(self) -> Token:
        """Return the next token and go past it."""
        token = self.peek()
        self._at += 1
        return token

    def sees(self, *words: str) -> bool:
        """Return whether these words or signs (upper case) are next."""
        return all(self.peek(ahead).word == word for ahead, word in enumerate(words))

    def accept(self, *words: str) -> bool:
        """Go past these words if they are next; return whether they were."""
        found = self.sees(*words)
        if found:
            self._at += len(words)
        return found

    def skip_words(self, *words: str) -> None:
        """Go past any of these words."""
        while any(map(self.accept, words)):
            pass

    @property
    def ended(self) -> bool:
        """Whether no token is left."""
        return self._at >= len(self._tokens)

    def expect(self, *words: str) -> None:
        """Go past these words; they must be next."""
        if not self.accept(*words):
            self.fail(" ".join(words))

    def name(self) -> str:
        """Return the name that is next, quoted or not."""
        if self.peek().kind not in ("word", "name"):
            self.fail("a name")
        return self.take().text

    def qualified(self, schema: str) -> tuple[str, str]:
        """Return the name that is next as (schema, name); `schema` is for one that stands alone."""
        first = self.name()
        return (first, self.name()) if self.accept(".") else (schema, first)

    def number(self) -> int:
        """Return the number that is next, of ten digits at most."""
        digits = self.peek().text
        if self.peek().kind != "number" or not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
            self.fail("a number")
        self.take()
        return int(digits)

    def text(self) -> str:
        """Return the text in quotes that is next."""
        if self.peek().kind != "text":
            self.fail("text in quotes")
        return self.take().text

    def skip_group(self) -> None:
        """Go past a pair of parentheses with all that is in it."""
        self.expect("(")
        self.skip_to(")")
        self.expect(")")

    def skip_to(self, *ends: str) -> None:
        """Go to the first of these signs that is not inside parentheses, or to the end."""
        depth = 0
        while not self.ended and not (depth == 0 and self.peek().word in ends):
            depth += _NESTING.get(self.take().word, 0)

    def list_of(self, read: Callable[[], T]) -> list[T]:
        """Return what `read` gives for each part of a list in parentheses."""
        self.expect("(")
        parts = [read()]
        while self.accept(","):
            parts.append(read())
        self.expect(")")
        return parts
