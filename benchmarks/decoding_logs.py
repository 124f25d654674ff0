"""A log of PostgreSQL's test_decoding as a busy shop writes it, made here, and a reader of it that knows the grammar and nothing else.

    public.orders    7 columns: two whole numbers, a numeric, two texts, a boolean, a time; REPLICA IDENTITY FULL
    public.rare      a table of which the log holds a change now and then

Inserts, updates (with all of the old row) and deletes of 1 to 100 rows a transaction, half of them of a single row. The text is that of
the plugin, byte for byte as `pg_recvlogical -o include-timestamp=1 -f` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
import random
import re

from benchmarks.measure import Command, Task

FULL_FLOOR, RARE_FLOOR = 2, 10
SCHEMA = """CREATE TABLE public.orders (id integer NOT NULL, customer bigint, total numeric(12,2), state text, note character varying(200),
    paid boolean, placed timestamp with time zone);
ALTER TABLE ONLY public.orders ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.orders REPLICA IDENTITY FULL;
CREATE TABLE public.rare (id integer NOT NULL, note text);
ALTER TABLE ONLY public.rare ADD CONSTRAINT rare_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rare REPLICA IDENTITY FULL;
"""
_STATES = ("new", "paid", "sent", "back")
_BEGUN = datetime(2026, 11, 23, 4, tzinfo=UTC)
_WORDS = (*("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel") * 12, "it''s", "Füße")


def tasks(
    folder: Path, megabytes: int, plan: Callable[..., Command], job: Callable[..., Command], clean: Callable[[], None]
) -> Iterator[Task]:
    """Yield the comparisons with the reader below, over a log of about that many megabytes."""
    log, schema = folder / "orders.log", folder / "orders.sql"
    write(log, megabytes)
    schema.write_text(SCHEMA)
    given = (log, "pg", "--schema", str(schema))
    peer = [job("fields", log)]
    yield Task("test_decoding: plan / fields by one expression, decoding alone", [plan(*given)], peer, FULL_FLOOR, clean=clean)
    yield Task("test_decoding: rare table / the same", [plan(*given, "--table", "public.rare")], peer, RARE_FLOOR, clean=clean)


def write(path: Path, megabytes: int) -> None:
    """Write about that many megabytes."""
    chance = random.Random(1)  # noqa: S311 - the same log each time
    written, size = transactions(chance), 0
    with path.open("w", encoding="utf-8", newline="") as file:
        while size < megabytes << 20:
            size += file.write(next(written))


def transactions(chance: random.Random) -> Iterator[str]:
    """Yield transactions without end."""
    made = 0  # rows so far: their ids are 1, 2, …
    for number in count(1000):
        rows = 1 if chance.random() < 0.5 else chance.randrange(1, 101)
        kind = chance.random()
        lines = [f"BEGIN {number}"]
        if number % 500 == 0:
            lines.append(f"table public.rare: INSERT: id[integer]:{number} note[text]:'seldom'")
        for _ in range(rows):
            if kind < 0.4 or made < 1000:
                made += 1
                lines.append(f"table public.orders: INSERT:{row(chance, made)}")
            elif kind < 0.8:
                first = chance.randrange(1, made)
                lines.append(f"table public.orders: UPDATE: old-key:{row(chance, first)} new-tuple:{row(chance, first)}")
            else:
                lines.append(f"table public.orders: DELETE:{row(chance, chance.randrange(1, made))}")
        lines.append(f"COMMIT {number} (at {_BEGUN + timedelta(microseconds=number * 1234 + 1)})\n".replace("+00:00)", "+00)"))
        yield "\n".join(lines)


def row(chance: random.Random, number: int) -> str:
    """Return the columns of a row."""
    placed = _BEGUN - timedelta(microseconds=chance.randrange(1, 10**13))
    note = " ".join(chance.choices(_WORDS, k=chance.randrange(1, 16)))
    return (
        f" id[integer]:{number} customer[bigint]:{chance.randrange(10**9)} total[numeric]:{chance.randrange(10**6)}.99"
        f" state[text]:'{chance.choice(_STATES)}' note[character varying]:'{note}' paid[boolean]:{chance.choice(('true', 'false'))}"
        f" placed[timestamp with time zone]:'{placed:%Y-%m-%d %H:%M:%S.%f}+00'"
    )


_FIELD = re.compile(r""" ((?:"(?:[^"]|"")*"|[^\s"\[])+)\[((?:"[^"]*"|\[\]|[^\[\]"])+)\]:(?:'((?:[^']|'')*)'|(\S+))""")
_ROW = re.compile(r"table (\S+): (INSERT|UPDATE|DELETE):")


def read(path: str) -> int:
    """Return the number of fields of a log, each decoded by one regular expression for all: name, type, value."""
    fields = 0
    with Path(path).open(encoding="utf-8", newline="") as file:
        for line in file:
            found = _ROW.match(line)
            if found is not None:
                fields += len(_FIELD.findall(line, found.end()))
    return fields
