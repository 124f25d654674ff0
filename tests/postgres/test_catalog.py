"""What a schema file says, written as pg_dump writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.postgres.catalog import Described, read_schema
from tests.conftest import Unpack
from tests.postgres_fixtures import SCENARIOS, meta

DUMP = r'''
\restrict abc
SET check_function_bodies = false;
CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE no.t (a int); RETURN NULL; END; $$;
CREATE TABLE public.t (
    id integer NOT NULL,
    "Odd ""name""" character varying(10) DEFAULT ';)'::character varying,
    n numeric(12,2) DEFAULT 0,
    area integer GENERATED ALWAYS AS ((id * 2)) STORED,
    always integer NOT NULL GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME s START WITH 1),
    tags text[] DEFAULT ARRAY['a,b'::text, ')'::text],
    at timestamp(3) without time zone,
    mood "Odd".mood,
    CONSTRAINT positive CHECK ((id > 0))
);
COMMENT ON TABLE public.t IS 'ALTER TABLE ONLY public.t REPLICA IDENTITY NOTHING;';
ALTER TABLE ONLY public.t REPLICA IDENTITY FULL;
CREATE TABLE public.u (a integer NOT NULL, b text NOT NULL, c text);
CREATE TABLE public.w (a integer NOT NULL, b text);
CREATE UNLOGGED TABLE public.v (a integer);
ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id, "Odd ""name""");
CREATE UNIQUE INDEX u_c ON public.u USING btree (c);
CREATE UNIQUE INDEX u_some ON public.u USING btree (a) WHERE (a > 0);
CREATE UNIQUE INDEX u_expression ON public.u USING btree (lower(b));
CREATE UNIQUE INDEX u_ab ON public.u USING btree (b, a DESC);
ALTER TABLE ONLY public.u REPLICA IDENTITY USING INDEX u_ab;
ALTER TABLE ONLY public.w ADD CONSTRAINT w_a_key UNIQUE (a);
ALTER TABLE ONLY public.v REPLICA IDENTITY NOTHING;
CREATE PUBLICATION p;
ALTER PUBLICATION p ADD TABLE ONLY public.w (a) WHERE ((a > 5));
'''


def names(described: Described | None) -> list[tuple[str, str, bool]]:
    """The columns with their types."""
    assert described is not None
    return [(column.name, column.type, column.generated) for column in described.columns]


def test_tables_keys_and_identities() -> None:
    """Of all there is in a dump."""
    catalog = read_schema(DUMP)
    t, u, v, w = (catalog.tables[("public", name)] for name in "tuvw")

    assert [
        ("id", "integer", False),
        ('Odd "name"', "character varying", False),
        ("n", "numeric", False),
        ("area", "integer", True),
        ("always", "integer", False),
        ("tags", "text[]", False),
        ("at", "timestamp without time zone", False),
        ("mood", '"Odd".mood', False),
    ] == names(t)
    assert (("id", 'Odd "name"'), "f", True) == (t.key, t.identity, t.primary)
    assert (("b", "a"), "i", False) == (u.key, u.identity, u.primary)
    assert (("a",), "d", False, True) == (w.key, w.identity, w.primary, w.row_filtered)
    assert ((), "n") == (v.key, v.identity)
    assert 4 == len(catalog.tables)


def test_a_table_without_a_schema_is_found_where_one_has_its_name() -> None:
    """The text of a log may leave it out."""
    catalog = read_schema("CREATE TABLE a.t (x int); CREATE TABLE a.u (x int); CREATE TABLE b.u (x int);")
    assert catalog.table("", "t") is catalog.table("a", "t")
    assert catalog.table("", "u") is None


@pytest.mark.parametrize("text", ["", "SELECT 1;", "CREATE TABLE", "CREATE TABLE x", "'", "$$", "((((", "CREATE TABLE public.t"])
def test_a_file_without_tables_is_refused(text: str) -> None:
    """It is not what was meant."""
    with pytest.raises(InvalidInput, match="pg_dump -s"):
        read_schema(text)


@pytest.mark.skipif(not SCENARIOS, reason="no such fixtures (DBLOG_FIXTURES names their folder)")
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "txns"])
def test_a_dump_says_what_the_catalog_of_its_server_said(name: str, scenario: Unpack) -> None:
    """Columns, types, keys, identities of every recorded schema."""
    folder: Path = scenario(f"pg15/{name}")
    catalog = read_schema((folder / "schema.sql").read_text())
    for table in meta(folder)["catalog_before"]:
        described = catalog.tables[(table["schema"], table["table"])]
        primary = next((tuple(index["cols"]) for index in table["indexes"] or () if index["primary"]), ())
        columns = [column for column in table["columns"] if not column["dropped"]]

        assert [column["name"] for column in columns] == [column.name for column in described.columns]
        assert [bool(column["generated"]) for column in columns] == [column.generated for column in described.columns]
        assert table["replident"] == described.identity
        if primary:
            assert primary == described.key


def test_inherited_columns_come_first() -> None:
    """pg_dump does not write them again for a table that INHERITS, only what is its own or was defined again."""
    found = read_schema("""
        CREATE TABLE a.p (id integer NOT NULL, v text); CREATE TABLE a.q (w "char", v text);
        ALTER TABLE ONLY a.p ADD CONSTRAINT p_pkey PRIMARY KEY (id);
        CREATE TABLE a.t (own date, v text NOT NULL) INHERITS (a.p, a.q); CREATE TABLE a.u () INHERITS (a.t, gone.away);
    """).tables

    expected = [("id", "integer", False), ("v", "text", False), ("w", '"char"', False), ("own", "date", False)]
    assert expected == names(found["a", "t"]) == names(found["a", "u"])
    assert (frozenset({"id", "v"}), (), False) == (found["a", "u"].required, found["a", "t"].key, found["a", "t"].primary)
