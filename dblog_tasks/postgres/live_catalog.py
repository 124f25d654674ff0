"""What a live server says of tables, as SQL text that `read_schema` reads like a file of pg_dump: one reader, one meaning.

Law: asks pg_catalog only, for which any account has the right; reads no rows of tables. The server itself writes names, types, keys
and indexes, with an empty search path, as it does for pg_dump; the order is pg_dump's too. PostgreSQL 12 or later.
"""

from __future__ import annotations

from dblog_tasks.errors import InvalidInput
from dblog_tasks.postgres.catalog import Catalog, read_schema
from dblog_tasks.postgres.connection import asking, shown

_OURS = r"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_TABLES = f"""
    SELECT format('CREATE TABLE %I.%I (%s);', n.nspname, c.relname, string_agg(
        quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
        || CASE WHEN a.attgenerated <> '' THEN ' GENERATED ALWAYS AS (NULL) STORED' ELSE '' END
        || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY a.attnum))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'f') AND {_OURS}
    GROUP BY n.nspname, c.relname ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""  # noqa: S608 - nothing of it is given
_CONSTRAINTS = f"""
    SELECT format('ALTER TABLE ONLY %I.%I ADD CONSTRAINT %I ', n.nspname, c.relname, k.conname) || pg_get_constraintdef(k.oid) || ';'
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype IN ('p', 'u') AND {_OURS} ORDER BY n.nspname COLLATE "C", k.conname COLLATE "C"
"""  # noqa: S608 - as above
_INDEXES = f"""
    SELECT pg_get_indexdef(i.indexrelid) || ';'
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE i.indisunique AND i.indisready AND (i.indisvalid OR c.relkind = 'I') AND {_OURS}
      AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""  # noqa: S608 - as above
# An identity whose index was dropped is none.
_IDENTITIES = f"""
    SELECT format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY ', n.nspname, c.relname) || CASE WHEN c.relreplident = 'f' THEN 'FULL;'
        WHEN i.relname IS NULL THEN 'NOTHING;' ELSE format('USING INDEX %I;', i.relname) END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_index x ON x.indrelid = c.oid AND x.indisreplident AND c.relreplident = 'i' LEFT JOIN pg_class i ON i.oid = x.indexrelid
    WHERE c.relkind IN ('r', 'p') AND c.relreplident <> 'd' AND {_OURS} ORDER BY 1
"""  # noqa: S608 - as above
# Servers before 15 have no column prqual.
_ROW_FILTERS = f"""
    SELECT format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I WHERE (true);', p.pubname, n.nspname, c.relname)
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE to_jsonb(r) ->> 'prqual' IS NOT NULL AND {_OURS} ORDER BY 1
"""  # noqa: S608 - as above


def live_catalog(dsn: str, password: str | None = None) -> Catalog:
    """Return the catalog of the database a DSN names.

    Raises InvalidInput for a DSN that cannot be used and a database without tables, StorageError when the server cannot be reached,
    TargetError for what it refuses.
    """
    with asking(dsn, password) as ask:
        ask("SELECT set_config('search_path', '', false)")
        lines = [line or "" for query in _QUERIES for (line,) in ask(query)]
    if not lines:
        raise InvalidInput("the database has no tables", where=shown(dsn), hint="is this the database of the log?")
    return read_schema("\n".join(lines), shown(dsn))


_QUERIES = (_TABLES, _CONSTRAINTS, _INDEXES, _IDENTITIES, _ROW_FILTERS)
