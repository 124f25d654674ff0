"""Row conditions, as text: `status = 'paid' AND before.total > 100`.

Law: text in, a frozen `Expression` out; `bind` compiles it for one table to a plain function of the row before and after. sqlglot
reads the text, but only the nodes of the tables below are translated; anything else is InvalidInput with its place.

    condition   value = | != | <> | < | <= | > | >= value · column [NOT] IN (literal, …) · column [NOT] BETWEEN value AND value ·
                column [NOT] LIKE 'pattern' · column IS [NOT] NULL · NOT c · c AND c · c OR c · ( c )
    value       column · `odd column` · before.column · after.column · literal; one of the two compared is a column
    literal     12 · -1.50 · 1e3 · 'text' with '' and MySQL's backslash escapes · "text" · X'hex' · NULL · TRUE (1) · FALSE (0)

Two images. `before.x` is the row before the change, `after.x` after it. A condition with bare columns holds when it holds, as a
whole, with all of them taken from the row before, or with all of them taken from the row after. A row that does not exist (an
insert has no before) makes everything said about it unknown, `IS NULL` too.

Unknown. A comparison with NULL, or with a value that cannot be read as its column's type says (text that did not decode), is
unknown, and so is its NOT. What is unknown does not hold.

How values of each type are compared, and with which literals, is in `readings`. Columns are compared with columns of the same line
there; = and != of a column with itself (before.x <> after.x): as stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
import re
from typing import Any, NamedTuple, NoReturn, TypeAlias

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Row, Table
from dblog_tasks.readings import AS_STORED, DIGITS_MAX, READINGS, Literal, Reading, numeric

LENGTH_MAX = 262_144  # characters: some 40,000 ids in an IN list
DEPTH_MAX = 20  # parentheses and NOTs around one another: each takes sqlglot some 20 of Python's 1,000 frames
ALLOWED = "= != < <= > >= IN BETWEEN LIKE IS NULL AND OR NOT ( ), columns, before.column, after.column, and literals"

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
    """A condition on row changes: the text as it was given, and what it says."""

    text: str
    condition: Condition = field(repr=False)

    def bind(self, table: Table) -> Test:
        """Return the test of a row before and after. Raises InvalidInput for a column the table lacks or cannot compare so."""
        source = _Source(table)
        holds = eval(f"lambda row, before, after: {source.condition(self.condition)}", source.names)  # noqa: S307 - numbers and names of ours
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
    except Exception as error:  # whatever a text does to the tokenizer, the text is at fault
        raise InvalidInput(f"the condition {text!r:.80} cannot be read", hint="is a quote left open?") from error
    checked = list(_checked(text, tokens))
    try:
        (node,) = MySQL().parser().parse(checked, text)
    except Exception as error:  # noqa: BLE001 - likewise, and what is not exactly one condition
        at = [(found["line"], found["col"]) for found in getattr(error, "errors", ())]
        start, end = next(((token.start, token.end + 1) for token in checked if (token.line, token.col) in at), (0, len(text)))
        deep = isinstance(error, RecursionError)
        _refuse(text, start, end, "too deep for this call stack" if deep else "something is missing or too much here")
    return Expression(text, _condition(text, node, negated=False))


def _refuse(text: str, start: int, end: int, why: str) -> NoReturn:
    raise InvalidInput(f"{text[start:end]!r:.60}: {why}", where=f"condition, character {start + 1}", hint=f"allowed: {ALLOWED}")


def _refuse_node(text: str, node: Any, why: str) -> NoReturn:
    places = [part.meta for part in node.walk() if "start" in part.meta] if node else []
    start = min((place["start"] for place in places), default=0)
    _refuse(text, start, max((place["end"] + 1 for place in places), default=len(text)), why)


def _checked(text: str, tokens: list[Any]) -> Iterator[Any]:
    """Yield the tokens, any other word as a column's name. Refuses what the grammar has no place for, comments, and deep nesting."""
    from sqlglot import TokenType  # noqa: PLC0415 - as above

    literals = {TokenType.STRING, TokenType.NUMBER, TokenType.HEX_STRING, TokenType.IDENTIFIER}
    done, previous, nots = 0, "", 0
    opened: list[int] = []  # parentheses, each with the NOTs before it
    for token in tokens:
        raw, word = text[token.start : token.end + 1], text[token.start : token.end + 1].upper()
        if text[done : token.start].strip():
            _refuse(text, done, token.start, "no comments here")
        if (previous == "-" and token.token_type != TokenType.NUMBER) or (previous, word) == (",", ")"):
            _refuse(text, token.start, token.end + 1, f"not after {previous!r}")
        if word == "(":
            opened.append(nots)
        elif word == ")" and opened:
            nots = opened.pop()
        elif word in ("AND", "OR"):
            nots = opened[-1] if opened else 0
        nots += word == "NOT"
        if len(opened) + nots > DEPTH_MAX:
            _refuse(text, token.start, token.end + 1, f"more than {DEPTH_MAX} levels of parentheses and NOT")
        if word in WORDS or token.token_type in literals:
            yield token
        elif re.fullmatch(r"[\w$]+", raw):
            yield type(token)(TokenType.IDENTIFIER, raw, token.line, token.col, token.start, token.end)
        else:
            _refuse(text, token.start, token.end + 1, "not allowed")
        done, previous = token.end + 1, word
    if text[done:].strip():
        _refuse(text, done, len(text), "no comments here")


def _condition(text: str, node: Any, *, negated: bool) -> Condition:
    """Return the condition of a node of sqlglot's, or of its NOT."""
    translate: Callable[..., Condition] = _known(text, node, CONDITIONS, "not a condition")
    return translate(text, node, negated=negated != bool(node.args.get("negate")))


def _known(text: str, node: Any, table: Mapping[str, tuple[set[str], Any]], why: str) -> Any:
    """Return what the table holds for the node's type, which must have no argument the table does not know of."""
    known, translate = table.get(type(node).__name__, (None, None))
    if known is None or not {name for name, value in node.args.items() if value} <= known:
        _refuse_node(text, node, why)
    return translate


def _group(text: str, node: Any, *, negated: bool) -> Condition:
    """AND and OR, however many in a row: sqlglot nests them to the left."""
    kind, parts = type(node), []
    while type(node) is kind:
        parts.append(_condition(text, node.expression, negated=negated))
        node = node.this
    parts.append(_condition(text, node, negated=negated))
    return Group("or" if (kind.__name__ == "Or") != negated else "and", tuple(reversed(parts)))


def _comparison(text: str, node: Any, *, negated: bool) -> Condition:
    operator, left = COMPARISONS[type(node).__name__], _value(text, node.this)
    right = [_value(text, operand) for operand in node.expressions or [node.expression]]
    if operator in TURNED and not isinstance(left, Name):
        operator, left, right = TURNED[operator], right[0], [left]
    if not isinstance(left, Name):
        _refuse_node(text, node, "expected a column")
    if operator not in TURNED and any(isinstance(value, Name) for value in right):
        _refuse_node(text, node, f"expected literals after {operator.upper()}")
    if operator == "is null" and right != [None]:
        _refuse_node(text, node, "expected NULL or NOT NULL after IS")
    return Comparison(NEGATED[operator] if negated else operator, left, tuple(right))


def _between(text: str, node: Any, *, negated: bool) -> Condition:
    name, low, high = (_value(text, node.args[part]) for part in ("this", "low", "high"))
    if not isinstance(name, Name):
        _refuse_node(text, node, "expected a column")
    if negated:
        return Group("or", (Comparison("<", name, (low,)), Comparison(">", name, (high,))))
    return Group("and", (Comparison(">=", name, (low,)), Comparison("<=", name, (high,))))


def _value(text: str, node: Any) -> Literal | Name:
    while type(node).__name__ == "Paren":
        node = node.this
    translate: Callable[[str, Any], Literal | Name] = _known(text, node, VALUES, "neither a column nor a literal")
    return translate(text, node)


def _column(text: str, node: Any) -> Name:
    image = node.args["table"].name.lower() if node.args.get("table") else ""
    if image not in IMAGES:
        _refuse_node(text, node, "a column is named alone, or after before. or after.")
    return Name(image, node.this.name)


def _digits(text: str, node: Any) -> int | Decimal:
    number = numeric(str(node.this))
    return number if number is not None else _refuse_node(text, node, f"expected a number of at most {DIGITS_MAX} digits")


def _negative(text: str, node: Any) -> int | Decimal:
    number = _digits(text, node.this)
    return -number if isinstance(number, int) else number.copy_negate()


def _hexadecimal(text: str, node: Any) -> bytes:
    digits = str(node.this)
    return bytes.fromhex(digits) if len(digits) % 2 == 0 else _refuse_node(text, node, "expected two digits for each byte")


class _Source:
    """Conditions as Python source over one table's rows: indexes and our own names, which `names` explains; `bare`: a bare column."""

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
        return self._literals(operator, name, index, list(operands))

    def _literals(self, operator: str, name: Name, index: int, values: list[Any]) -> str:
        known = [value for value in values if value is not None]
        reading = self._reading(index, frozenset(_KINDS_OF[type(value)] for value in known))
        operands: list[Any] = []
        for value in known:
            operands.append(reading.literal(value))
            if operands[-1] is None or ("like" in operator and reading.line not in ("text", "bytes")):
                self._refuse(index, f"{operator.upper()} {value if isinstance(value, Decimal) else repr(value):.80}", reading.expected)
        if not known or (operator == "not in" and len(known) < len(values)):
            return "False"  # a comparison with NULL is unknown
        right = self._keep(_RIGHT.get(operator, itemgetter(0))(operands))
        return f"({self._guard(name)}{self._load(reading, name, index, 'v')} and {OPERATORS[operator].format('v', right)})"

    def _columns(self, operator: str, left: Name, index: int, right: Name) -> str:
        other = self._index(right.column)
        one, two = self._reading(index, frozenset()), self._reading(other, frozenset())
        if index == other and operator in ("=", "!="):
            one = two = AS_STORED
        elif not one.line or one.line != two.line:
            self._refuse(index, f"{operator} {self._table.columns[other].name} ({self._table.columns[other].type})", one.expected)
        loads = f"{self._load(one, left, index, 'v')} and {self._load(two, right, other, 'w')}"
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
        make = READINGS.get(column.type.partition("(")[0])
        return make(column, kinds) if make else AS_STORED

    def _refuse(self, index: int, what: str, expected: str) -> NoReturn:
        column, table = self._table.columns[index], f"{self._table.schema}.{self._table.name}"
        raise InvalidInput(f"column {column.name} ({column.type}) of {table} cannot be compared: {what}", hint=f"expected {expected}")


def _matcher(operands: list[Any]) -> Any:
    """Return the function that matches a LIKE pattern, of text or of bytes."""
    (pattern,) = operands
    source = _like(pattern) if isinstance(pattern, str) else _like(pattern.decode("latin-1")).encode("latin-1")
    return re.compile(source, re.DOTALL).fullmatch


def _like(pattern: str) -> str:
    """Return a regular expression that takes each part between two % at its first place: no pattern makes it slow."""
    parts = [""]
    for piece in re.findall(r"\\?.", pattern, re.DOTALL):
        if piece == "%":
            parts.append("")
        else:
            parts[-1] += "." if piece == "_" else re.escape(piece[-1])
    if len(parts) == 1:
        return parts[0]
    return parts[0] + "".join(f"(?>.*?{part})" for part in parts[1:-1] if part) + ".*" + parts[-1]


NEGATED = {"=": "!=", "<": ">=", ">": "<=", "in": "not in", "like": "not like", "is null": "is not null"}
NEGATED |= {opposite: operator for operator, opposite in NEGATED.items()}
TURNED = {"=": "=", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
OPERATORS = {
    **{operator: f"{{}} {operator} {{}}" for operator in ("!=", "<", "<=", ">", ">=", "in", "not in")},
    "=": "{} == {}",
    "like": "{1}({0}) is not None",
    "not like": "{1}({0}) is None",
}
_RIGHT: Mapping[str, Callable[[list[Any]], Any]] = {"in": frozenset, "not in": frozenset, "like": _matcher, "not like": _matcher}
_SIGNS = ("=", "!=", "<>", "<", "<=", ">", ">=", "(", ")", ",", ".", "-")
WORDS = frozenset((*_SIGNS, "AND", "OR", "NOT", "IN", "LIKE", "IS", "NULL", "BETWEEN", "TRUE", "FALSE"))
COMPARISONS = {"EQ": "=", "NEQ": "!=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">=", "In": "in", "Like": "like", "Is": "is null"}
# sqlglot's nodes that are translated: the arguments each may have, and how.
CONDITIONS: Mapping[str, tuple[set[str], Callable[..., Condition]]] = {
    **dict.fromkeys(("And", "Or"), ({"this", "expression"}, _group)),
    "Not": ({"this"}, lambda text, node, negated: _condition(text, node.this, negated=not negated)),
    "Paren": ({"this"}, lambda text, node, negated: _condition(text, node.this, negated=negated)),
    **dict.fromkeys(COMPARISONS, ({"this", "expression", "negate"}, _comparison)),
    "In": ({"this", "expressions", "negate"}, _comparison),
    "Between": ({"this", "low", "high", "negate"}, _between),
}
VALUES: Mapping[str, tuple[set[str], Callable[[str, Any], Literal | Name]]] = {
    "Column": ({"this", "table"}, _column),
    "Literal": ({"this", "is_string"}, lambda text, node: str(node.this) if node.args["is_string"] else _digits(text, node)),
    "Neg": ({"this"}, _negative),
    "HexString": ({"this"}, _hexadecimal),
    "Null": (set(), lambda _text, _node: None),
    "Boolean": ({"this"}, lambda _text, node: int(bool(node.this))),
}
_KINDS_OF = {int: "number", Decimal: "number", str: "text", bytes: "bytes"}
