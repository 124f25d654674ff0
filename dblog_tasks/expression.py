"""Row conditions, as text: `status = 'paid' AND before.total > 100`.

Law: text in, a frozen `Expression` out; `bind` compiles it for one table to a plain function of the row before and after. sqlglot
reads the text, but only the nodes of the tables below are translated; anything else is InvalidInput with its place.

    condition   value = | != | <> | < | <= | > | >= value · value [NOT] IN (literal, …) · value [NOT] BETWEEN value AND value ·
                column [NOT] LIKE 'pattern' · column IS [NOT] NULL · NOT c · c AND c · c OR c · ( c )
    value       column · `odd column` · before.column · after.column · literal; one of the two compared is a column
    literal     12 · -1.50 · 1e3 · 'text' with '' and MySQL's backslash escapes · "text" · X'hex' · NULL · TRUE (1) · FALSE (0)

Two images. `before.x` is the row before the change, `after.x` after it. A condition with bare columns holds when it holds, as a
whole, with all of them taken from the row before, or with all of them taken from the row after. A row that does not exist (an
insert has no before) makes everything said about it unknown, `IS NULL` too.

Unknown. A comparison with NULL, or with a value that cannot be read as its column's type says (text that did not decode), is
unknown, and so is its NOT. What is unknown does not hold.

    columns                          compare as                             with literals
    integers, decimal, year, bit     exact numbers                          numbers, 'numbers'
    float, double                    floats; a literal is rounded to the    numbers, 'numbers'
                                     column's precision first
    date, datetime, timestamp        instants, as the log's text has them   'YYYY-MM-DD[ hh:mm[:ss[.ffffff]]]'; a date
                                     (timestamps in UTC)                    is its midnight
    time                             lengths of time                        '[-]hh:mm[:ss[.ffffff]]'
    char, varchar, text, json        characters exactly: no collation, no   'text'; X'hex' with UTF-8 character sets
                                     case folding, no padding; JSON as text
    enum, set                        labels; a set in the order of its      'text'; a number is the index, the bits
                                     definition: 'a,b'
    binary, blob, geometry, others   bytes exactly                          X'hex', 'text' as UTF-8
    with bytes

Columns are compared with columns of the same line of this table; a column with itself (before.x <> after.x) always, as stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from math import isfinite
import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Column, Row, Table

if TYPE_CHECKING:
    from sqlglot.expressions import Expression as Node
    from sqlglot.tokens import Token

LENGTH_MAX = 262_144  # characters: some 40,000 ids in an IN list
DEPTH_MAX = 50  # parentheses and NOTs around one another
DIGITS_MAX = 1_000  # of a number, its exponent counted out
ALLOWED = "= != < <= > >= IN BETWEEN LIKE IS NULL AND OR NOT ( ), columns, before.column, after.column, and literals"

Literal: TypeAlias = None | int | Decimal | str | bytes
Test: TypeAlias = Callable[[Row | None, Row | None], bool]
IMAGES = {"": "row", "before": "before", "after": "after"}


class Name(NamedTuple):
    """A column, of one image or (empty) of either."""

    image: str
    column: str


class Comparison(NamedTuple):
    """What is said of a column: an operator of `NEGATED`, and a column, literals or nothing, as the operator needs."""

    operator: str
    name: Name
    operands: tuple[Literal | Name, ...] = ()


class Group(NamedTuple):
    """Conditions of which all (`and`) or one (`or`) hold."""

    word: str
    parts: tuple[Condition, ...]


# NOT is worked into the comparisons when the text is read, so "does not hold" and "unknown" need not be told apart later.
Condition: TypeAlias = Comparison | Group


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition on row changes.

    Attributes:
        text: as it was given.
        condition: what it says.
    """

    text: str
    condition: Condition = field(repr=False)

    def bind(self, table: Table) -> Test:
        """Return the test of a row before and after. Raises InvalidInput for a column the table lacks or cannot compare so."""
        source = _Source(table)
        holds = eval(f"lambda row, before, after: {source.condition(self.condition)}", source.names)  # noqa: S307 - our names only
        if not source.bare:
            return lambda before, after: holds(None, before, after)
        return lambda before, after: (
            (after is not None and holds(after, before, after)) or (before is not None and holds(before, before, after))
        )


def parse(text: str) -> Expression:
    """Return the condition the text says. Raises InvalidInput, with the place, for anything the grammar above does not have."""
    if len(text) > LENGTH_MAX:
        raise InvalidInput(f"the condition has {len(text)} characters, expected at most {LENGTH_MAX}")
    from sqlglot.dialects.mysql import MySQL  # noqa: PLC0415 - slow to import, and few runs have a condition

    try:
        tokens = MySQL().tokenize(text)
    except Exception as error:  # noqa: BLE001 - whatever a text does to the tokenizer, the text is at fault
        raise InvalidInput(f"the condition {text!r:.80} cannot be read", hint="is a quote left open?") from error
    checked = list(_checked(text, tokens))
    try:
        nodes = MySQL().parser().parse(checked, text)
    except Exception as error:  # noqa: BLE001 - likewise
        _refuse(text, *_place_of(error, text), "something is missing or too much here")
    if len(nodes) != 1 or nodes[0] is None:
        raise InvalidInput("the condition is empty", hint=f"allowed: {ALLOWED}")
    return Expression(text, _Translation(text).condition(nodes[0], negated=False))


def _place_of(error: Exception, text: str) -> tuple[int, int]:
    """Return start and end of what sqlglot's parser complains about, else of the whole text."""
    for found in getattr(error, "errors", ()):
        lines = text.splitlines(keepends=True)[: (found["line"] or 1) - 1]
        end = min(sum(map(len, lines)) + (found["col"] or len(text)), len(text))
        return max(end - len(found["highlight"] or " "), 0), end
    return 0, len(text)


def _refuse(text: str, start: int, end: int, why: str) -> NoReturn:
    raise InvalidInput(f"{text[start:end]!r:.60}: {why}", where=f"condition, character {start + 1}", hint=f"allowed: {ALLOWED}")


def _checked(text: str, tokens: list[Token]) -> Iterator[Token]:
    """Yield the tokens, any other word as a column's name. Refuses what the grammar has no place for, comments, and deep nesting."""
    from sqlglot.tokens import Token, TokenType  # noqa: PLC0415 - as in parse

    literals = {TokenType.STRING, TokenType.NUMBER, TokenType.HEX_STRING, TokenType.IDENTIFIER}
    nesting = _Nesting()
    done, previous = 0, ""
    for token in [*tokens, None]:
        start, end = (token.start, token.end + 1) if token else (len(text), len(text))
        if text[done:start].strip():
            _refuse(text, done, start, "no comments here")
        if token is None:
            break
        raw, done = text[start:end], end
        word = raw.upper()
        if (previous == "-") != (token.token_type == TokenType.NUMBER and previous == "-") or (previous, word) == (",", ")"):
            _refuse(text, start, end, f"not after {previous!r}")
        if nesting.depth(word) > DEPTH_MAX:
            _refuse(text, start, end, f"more than {DEPTH_MAX} levels of parentheses and NOT")
        previous = word
        if word in WORDS or token.token_type in literals:
            yield token
        elif re.fullmatch(r"[\w$]+", raw):
            yield Token(TokenType.IDENTIFIER, raw, token.line, token.col, token.start, token.end)
        else:
            _refuse(text, start, end, "not allowed")


class _Nesting:
    """How many parentheses and NOTs are open, token by token."""

    def __init__(self) -> None:
        self._open: list[int] = []
        self._nots = 0

    def depth(self, word: str) -> int:
        if word == "(":
            self._open.append(self._nots)
        elif word == ")" and self._open:
            self._nots = self._open.pop()
        elif word in ("AND", "OR"):
            self._nots = self._open[-1] if self._open else 0
        self._nots += word == "NOT"
        return len(self._open) + self._nots


class _Translation:
    """From sqlglot's nodes to conditions, by the tables below; what they lack is refused."""

    def __init__(self, text: str) -> None:
        self._text = text

    def condition(self, node: Node, *, negated: bool) -> Condition:
        """Return the condition of a node, or of its NOT."""
        kind = self._kind(node, CONDITIONS, "not a condition")
        return CONDITIONS[kind][1](self, node, negated != bool(node.args.get("negate")))

    def group(self, node: Node, negated: bool) -> Condition:
        """AND and OR, however many in a row."""
        kind, parts = type(node), []
        word = {"And": "and", "Or": "or"}[kind.__name__]
        while type(node) is kind:
            parts.append(node.expression)
            node = node.this
        parts.append(node)
        turned = {"and": "or", "or": "and"}[word] if negated else word
        return Group(turned, tuple(self.condition(part, negated=negated) for part in reversed(parts)))

    def wrapped(self, node: Node, negated: bool) -> Condition:
        """Parentheses and NOT."""
        return self.condition(node.this, negated=negated != (type(node).__name__ == "Not"))

    def comparison(self, node: Node, negated: bool) -> Condition:
        """Two values, at least one of them a column."""
        operator = COMPARISONS[type(node).__name__]
        left, right = self._value(node.this), self._value(node.expression)
        if not isinstance(left, Name):
            left, right, operator = right, left, TURNED[operator]
        if not isinstance(left, Name):
            self._refuse(node, "compares no column")
        return Comparison(NEGATED[operator] if negated else operator, left, (right,))

    def member(self, node: Node, negated: bool) -> Condition:
        """IN with literals."""
        values = [self._value(value) for value in node.expressions]
        if not values or any(isinstance(value, Name) for value in values):
            self._refuse(node, "expected literals in the list")
        return Comparison("not in" if negated else "in", self._name(node.this), tuple(values))

    def between(self, node: Node, negated: bool) -> Condition:
        """BETWEEN, as the two comparisons it stands for."""
        name, low, high = self._name(node.this), self._value(node.args["low"]), self._value(node.args["high"])
        if negated:
            return Group("or", (Comparison("<", name, (low,)), Comparison(">", name, (high,))))
        return Group("and", (Comparison(">=", name, (low,)), Comparison("<=", name, (high,))))

    def like(self, node: Node, negated: bool) -> Condition:
        """LIKE with a literal."""
        pattern = self._value(node.expression)
        if isinstance(pattern, Name):
            self._refuse(node, "expected a literal after LIKE")
        return Comparison("not like" if negated else "like", self._name(node.this), (pattern,))

    def null(self, node: Node, negated: bool) -> Condition:
        """IS NULL."""
        if type(node.expression).__name__ != "Null":
            self._refuse(node, "expected NULL or NOT NULL after IS")
        return Comparison("is not null" if negated else "is null", self._name(node.this))

    def _name(self, node: Node) -> Name:
        value = self._value(node)
        if not isinstance(value, Name):
            self._refuse(node, "expected a column")
        return value

    def _value(self, node: Node) -> Literal | Name:
        while type(node).__name__ == "Paren":
            node = node.this
        kind = self._kind(node, VALUES, "neither a column nor a literal")
        return VALUES[kind][1](self, node)

    def column(self, node: Node) -> Name:
        """A column, with or without its image."""
        image = node.args.get("table")
        if image is not None and image.name.lower() not in ("before", "after"):
            self._refuse(node, "a column is named alone, or after before. or after.")
        return Name(image.name.lower() if image is not None else "", node.this.name)

    def literal(self, node: Node) -> Literal:
        """Text or a number."""
        return str(node.this) if node.args["is_string"] else self._number(node)

    def negative(self, node: Node) -> Literal:
        """A number with its sign."""
        number = self._value(node.this)
        if isinstance(number, int):
            return -number
        return number.copy_negate() if isinstance(number, Decimal) else self._refuse(node, "expected a number after -")

    def hexadecimal(self, node: Node) -> Literal:
        """Bytes."""
        digits = str(node.this)
        return bytes.fromhex(digits) if len(digits) % 2 == 0 else self._refuse(node, "expected two digits for each byte")

    def _number(self, node: Node) -> int | Decimal:
        number = _numeric(str(node.this))
        return number if number is not None else self._refuse(node, f"expected a number of at most {DIGITS_MAX} digits")

    def _kind(self, node: Node, table: Mapping[str, tuple[set[str], Any]], why: str) -> str:
        """Return the node's type, checked to be in the table and to have nothing the table does not know of."""
        kind = type(node).__name__
        if kind not in table or not {name for name, value in node.args.items() if value} <= table[kind][0]:
            self._refuse(node, why)
        return kind

    def _refuse(self, node: Node, why: str) -> NoReturn:
        places = [part.meta for part in node.walk() if "start" in part.meta] if hasattr(node, "walk") else []
        start = min((place["start"] for place in places), default=0)
        end = max((place["end"] + 1 for place in places), default=len(self._text))
        _refuse(self._text, start, end, why)


class Reading(NamedTuple):
    """How a column's values and literals are made comparable.

    Attributes:
        line: columns of the same line can be compared with one another; empty: with themselves only.
        load: from a row's value; None for one that is NULL or unknown. None: as it is.
        literal: from a literal. Raises ValueError when it makes no sense here; the message says what was expected.
    """

    line: str
    load: Callable[[Any], Any] | None
    literal: Callable[[Any], Any]


class _Source:
    """Conditions as Python source over one table's rows: indexes and our own names; values and functions stand in `names`."""

    def __init__(self, table: Table) -> None:
        self.names: dict[str, Any] = {"__builtins__": {}}
        self.bare = False
        self._table = table
        self._exact = {column.name: index for index, column in enumerate(table.columns)}
        self._folded: dict[str, list[int]] = {}
        for name, index in self._exact.items():
            self._folded.setdefault(name.casefold(), []).append(index)

    def condition(self, condition: Condition) -> str:
        """Return the source of a condition: true where it holds, false where it does not or is unknown."""
        if isinstance(condition, Group):
            return f"({f' {condition.word} '.join(map(self.condition, condition.parts))})"
        operator, name, operands = condition
        index = self._index(name.column)
        if operator in ("is null", "is not null"):
            return f"({self._guard(name)}{IMAGES[name.image]}[{index}] {operator.replace('null', 'None')})"
        if isinstance(operands[0], Name):
            return self._columns(operator, name, index, operands[0])
        return self._literals(operator, name, index, [operand for operand in operands if not isinstance(operand, Name)])

    def _literals(self, operator: str, name: Name, index: int, values: list[Literal]) -> str:
        known = [value for value in values if value is not None]
        kinds = frozenset(_KINDS_OF[type(value)] for value in known)
        reading = self._reading(index, kinds)
        operands = [self._operand(reading, index, value) for value in known]
        if not known or (operator == "not in" and len(known) < len(values)):
            return "False"  # a comparison with NULL is unknown
        if operator in ("in", "not in"):
            right = self._keep(frozenset(operands))
        elif operator in ("like", "not like"):
            right = self._keep(self._pattern(reading, index, operands[0]))
        else:
            right = self._keep(operands[0])
        return f"({self._guard(name)}{self._load(reading, name, index, 'v')} and {OPERATORS[operator].format('v', right)})"

    def _columns(self, operator: str, left: Name, index: int, right: Name) -> str:
        other = self._index(right.column)
        if index == other and operator in ("=", "!="):
            readings = (_AS_STORED, _AS_STORED)
        else:
            readings = (self._reading(index, frozenset()), self._reading(other, frozenset()))
            if readings[0].line != readings[1].line:
                self._senseless(index, f"column {self._table.columns[other].name} ({self._table.columns[other].type})", "")
        loads = f"{self._load(readings[0], left, index, 'v')} and {self._load(readings[1], right, other, 'w')}"
        return f"({self._guard(left)}{self._guard(right)}{loads} and {OPERATORS[operator].format('v', 'w')})"

    def _guard(self, name: Name) -> str:
        self.bare = self.bare or not name.image
        return f"{name.image} is not None and " if name.image else ""

    def _load(self, reading: Reading, name: Name, index: int, variable: str) -> str:
        cell = f"{IMAGES[name.image]}[{index}]"
        return f"({variable} := {self._keep(reading.load)}({cell})) is not None" if reading.load else f"({variable} := {cell}) is not None"

    def _keep(self, value: object) -> str:
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def _index(self, name: str) -> int:
        found = [self._exact[name]] if name in self._exact else self._folded.get(name.casefold(), [])
        if len(found) == 1:
            return found[0]
        columns = ", ".join(column.name for column in self._table.columns)
        raise InvalidInput(f"no column {name!r} in table {self._table.schema}.{self._table.name}", hint=f"its columns: {columns}")

    def _reading(self, index: int, kinds: frozenset[str]) -> Reading:
        column = self._table.columns[index]
        make = READINGS.get(column.type.partition("(")[0].strip())
        try:
            if make is None:
                raise ValueError("IS NULL, or the same column of the other image")
            return make(column, kinds)
        except ValueError as error:
            self._senseless(index, " and ".join(sorted(kinds)) or "another column", str(error))

    def _operand(self, reading: Reading, index: int, value: Literal) -> Any:
        try:
            return reading.literal(value)
        except ValueError as error:
            self._senseless(index, repr(str(value) if isinstance(value, Decimal) else value)[:80], str(error))

    def _pattern(self, reading: Reading, index: int, pattern: Any) -> Any:
        if reading.line not in ("text", "bytes"):
            self._senseless(index, "a LIKE pattern", "text")
        return re.compile(_like(pattern), re.DOTALL).fullmatch if isinstance(pattern, str) else _like_bytes(pattern)

    def _senseless(self, index: int, what: str, expected: str) -> NoReturn:
        column = self._table.columns[index]
        raise InvalidInput(
            f"column {column.name} ({column.type}) of {self._table.schema}.{self._table.name} cannot be compared with {what}",
            hint=f"expected {expected}" if expected else "",
        )


def _like(pattern: str) -> str:
    """Return a regular expression that takes each part between two % at its first place: no pattern makes it slow."""
    parts, at = [""], 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and at + 1 < len(pattern):
            at += 1
            parts[-1] += re.escape(pattern[at])
        elif character == "%":
            parts.append("")
        else:
            parts[-1] += "." if character == "_" else re.escape(character)
        at += 1
    if len(parts) == 1:
        return parts[0]
    return parts[0] + "".join(f"(?>.*?{part})" for part in parts[1:-1] if part) + ".*" + parts[-1]


def _like_bytes(pattern: bytes) -> Any:
    return re.compile(_like(pattern.decode("latin-1")).encode("latin-1"), re.DOTALL).fullmatch


def _numeric(text: str) -> int | Decimal | None:
    """Return the number the digits say exactly; None when they say none, or one too long to compare."""
    found = _NUMBER.fullmatch(text)
    if found is None or len(text) > DIGITS_MAX or len(found["exponent"] or "") > 5:
        return None
    return Decimal(text) if found["fraction"] or found["exponent"] else int(text)


def _number(value: Literal) -> int | Decimal:
    number = _numeric(value) if isinstance(value, str) else value
    if not isinstance(number, int | Decimal):
        raise ValueError("a number")
    return number


def _rounded(pack: str) -> Callable[[Literal], float | int | Decimal]:
    """Return the reader of a literal for floats of this size; one too large for it stays exact."""

    def read(value: Literal) -> float | int | Decimal:
        exact = _number(value)
        try:
            (rounded,) = struct.unpack(pack, struct.pack(pack, float(exact)))
        except OverflowError:
            return exact
        return float(rounded) if isfinite(rounded) else exact

    return read


def _characters(value: Literal) -> str:
    if not isinstance(value, str):
        raise ValueError("'text'")
    return value


def _octets(value: Literal) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, bytes):
        raise ValueError("X'hex' or 'text'")
    return value


def _instant(value: Literal) -> str:
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None or any(int(found[part] or 0) > most for part, most in _INSTANT_MOST.items()):
        raise ValueError("'YYYY-MM-DD' or 'YYYY-MM-DD hh:mm:ss.ffffff'")
    day, hour, minute, second, fraction = found.group("day", "hour", "minute", "second", "fraction")
    return f"{day} {hour or '00'}:{minute or '00'}:{second or '00'}.{fraction or '':0<6}"


def _span(value: Literal) -> int:
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found["minute"]) > 59 or int(found["second"] or 0) > 59:
        raise ValueError("'hh:mm:ss.ffffff'")
    seconds = int(found["hour"]) * 3600 + int(found["minute"]) * 60 + int(found["second"] or 0)
    micro = seconds * 1_000_000 + int(f"{found['fraction'] or '':0<6}")
    return -micro if found["sign"] else micro


def _load_decimal(value: Any) -> Decimal | int | None:
    return _numeric(value) if type(value) is str else None


def _load_float(value: Any) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN is not itself


def _load_text(value: Any) -> str | None:
    return value if type(value) is str else None


def _load_bytes(value: Any) -> bytes | None:
    return value if type(value) is bytes else value.encode("utf-8", "surrogatepass") if type(value) is str else None


def _load_instant(value: Any) -> str | None:
    return value + _MIDNIGHT[len(value) :] if type(value) is str else None


def _load_span(value: Any) -> int | None:
    try:
        return _span(value)
    except ValueError:
        return None


def _textual(column: Column, kinds: frozenset[str]) -> Reading:
    if column.charset == "binary":
        return _BYTES
    if kinds != {"bytes"}:
        return _TEXT
    if column.charset not in _UTF8:
        raise ValueError(f"'text': its character set is {column.charset}")
    return _BYTES


def _labels(column: Column, kinds: frozenset[str]) -> tuple[str, ...]:
    if not column.labels:
        raise ValueError("its number, for its labels are not in the log; a schema would tell them")
    return column.labels


def _enum(column: Column, kinds: frozenset[str]) -> Reading:
    if kinds == {"number"}:
        return _INTEGER
    names = {0: "", **dict(enumerate(_labels(column, kinds), start=1))}
    return Reading("text", names.get, _characters)


def _set(column: Column, kinds: frozenset[str]) -> Reading:
    if kinds == {"number"}:
        return _INTEGER
    labels = _labels(column, kinds)

    @lru_cache(maxsize=1024)
    def names(mask: Any) -> str | None:
        if type(mask) is not int or mask >> len(labels):
            return None
        return ",".join(label for bit, label in enumerate(labels) if mask >> bit & 1)

    return Reading("text", names, _characters)


def _always(reading: Reading) -> Callable[[Column, frozenset[str]], Reading]:
    return lambda column, kinds: reading  # noqa: ARG005 - makers share one signature


NEGATED = {"=": "!=", "<": ">=", ">": "<=", "in": "not in", "like": "not like", "is null": "is not null"}
NEGATED |= {opposite: operator for operator, opposite in NEGATED.items()}
TURNED = {"=": "=", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
OPERATORS = {
    **{operator: "{} %s {}" % operator for operator in ("!=", "<", "<=", ">", ">=", "in", "not in")},
    "=": "{} == {}",
    "like": "{1}({0}) is not None",
    "not like": "{1}({0}) is None",
}
WORDS = frozenset("= != <> < <= > >= ( ) , . - AND OR NOT IN LIKE IS NULL BETWEEN TRUE FALSE".split())
COMPARISONS = {"EQ": "=", "NEQ": "!=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
# sqlglot's nodes that are translated: the arguments each may have, and how.
CONDITIONS: Mapping[str, tuple[set[str], Callable[[_Translation, Any, bool], Condition]]] = {
    **dict.fromkeys(("And", "Or"), ({"this", "expression"}, _Translation.group)),
    **dict.fromkeys(("Not", "Paren"), ({"this"}, _Translation.wrapped)),
    **dict.fromkeys(COMPARISONS, ({"this", "expression"}, _Translation.comparison)),
    "In": ({"this", "expressions", "negate"}, _Translation.member),
    "Between": ({"this", "low", "high", "negate"}, _Translation.between),
    "Like": ({"this", "expression", "negate"}, _Translation.like),
    "Is": ({"this", "expression", "negate"}, _Translation.null),
}
VALUES: Mapping[str, tuple[set[str], Callable[[_Translation, Any], Literal | Name]]] = {
    "Column": ({"this", "table"}, _Translation.column),
    "Literal": ({"this", "is_string"}, _Translation.literal),
    "Neg": ({"this"}, _Translation.negative),
    "HexString": ({"this"}, _Translation.hexadecimal),
    "Null": (set(), lambda translation, node: None),
    "Boolean": ({"this"}, lambda translation, node: int(bool(node.this))),
}
_KINDS_OF = {int: "number", Decimal: "number", str: "text", bytes: "bytes"}
_UTF8 = frozenset({"utf8mb4", "utf8mb3", "utf8", "ascii"})
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.(?P<fraction>\d*))?|\.\d+)(?:[eE](?P<exponent>[+-]?\d+))?", re.ASCII)
_INSTANT = re.compile(
    r"(?P<day>\d{4}-(?P<month>\d\d)-(?P<date>\d\d))"
    r"(?:[ T](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?)?",
    re.ASCII,
)
_INSTANT_MOST = {"month": 12, "date": 31, "hour": 23, "minute": 59, "second": 59}
_MIDNIGHT = "0000-00-00 00:00:00.000000"
_SPAN = re.compile(r"(?P<sign>-?)(?P<hour>\d{1,3}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?", re.ASCII)
_AS_STORED = Reading("", None, _number)
_INTEGER = Reading("number", None, _number)
_TEXT = Reading("text", _load_text, _characters)
_BYTES = Reading("bytes", _load_bytes, _octets)
_INSTANTS = Reading("instant", _load_instant, _instant)
# Column types and how they are read; the makers get the column and the kinds of the literals it is compared with.
READINGS: Mapping[str, Callable[[Column, frozenset[str]], Reading]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"), _always(_INTEGER)),
    "decimal": _always(Reading("number", _load_decimal, _number)),
    "float": _always(Reading("float", _load_float, _rounded("f"))),
    "double": _always(Reading("float", _load_float, _rounded("d"))),
    **dict.fromkeys(("date", "datetime", "timestamp"), _always(_INSTANTS)),
    "time": _always(Reading("time", _load_span, _span)),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), _textual),
    "json": _always(_TEXT),
    "enum": _enum,
    "set": _set,
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "vector"), _always(_BYTES)),
}
