"""Blocks without a server: what they hold, what they refuse, what they show."""

from __future__ import annotations

from typing import Any

from prefect.blocks.core import Block
from pydantic import ValidationError
import pytest

from dblog_tasks.blocks import DatabaseTarget, LogStore, stored
from dblog_tasks.errors import InvalidInput
from dblog_tasks.mysql.catalog import _options, _split
from dblog_tasks.postgres.connection import opened

SECRET = "open-sesame-4711"  # noqa: S105 - looked for, not kept


@pytest.mark.parametrize("kind", [DatabaseTarget, LogStore])
def test_form_explains_every_field(kind: type[Block]) -> None:
    """Title and description for the block and each of its fields, as the page shows them."""
    fields = kind.model_json_schema()["properties"]

    assert kind.get_description()
    assert [] == [name for name, field in fields.items() if not (field.get("title") and kind.model_fields[name].description)]


@pytest.mark.parametrize(
    ("fields", "dsn"),
    [
        ({}, "mysql://u@localhost:3306/"),
        ({"host": "::1", "port": 3307, "database": "shop"}, "mysql://u@[::1]:3307/shop"),
        ({"user": "a:b@c/d"}, "mysql://a%3Ab%40c%2Fd@localhost:3306/"),
        ({"unix_socket": "/run/my sql/s&x"}, "mysql://u@localhost:3306/?unix_socket=/run/my%20sql/s%26x"),
        ({"tls": "verify-ca", "ssl_ca": "/ca.pem"}, "mysql://u@localhost:3306/?ssl_ca=/ca.pem"),
        (
            {"tls": "verify-identity", "ssl_ca": "/ca.pem", "ssl_cert": "/c.pem", "ssl_key": "/k.pem"},
            "mysql://u@localhost:3306/?ssl_ca=/ca.pem&ssl_cert=/c.pem&ssl_key=/k.pem&ssl_verify_identity=1",
        ),
        ({"tls": "off", "ssl_ca": "/ca.pem"}, "mysql://u@localhost:3306/"),
        ({"driver": "pg", "database": "shop"}, "postgresql://u@localhost:5432/shop"),
        ({"driver": "pg", "port": 5433, "unix_socket": "/run/pg"}, "postgresql://u@localhost:5433/?host=/run/pg"),
        (
            {"driver": "pg", "tls": "verify-identity", "ssl_ca": "/ca.pem", "ssl_cert": "/c.pem", "ssl_key": "/k.pem"},
            "postgresql://u@localhost:5432/?sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem&sslmode=verify-full",
        ),
    ],
)
def test_target_is_a_dsn(fields: dict[str, Any], dsn: str) -> None:
    """Every field is in the DSN, quoted, and the password is not; the connection takes it."""
    target = DatabaseTarget(**{"user": "u", "password": SECRET, **fields})

    assert dsn == target.dsn()
    if target.driver == "mysql":
        _options(_split(dsn))
    else:
        opened(dsn, None)


def test_tls_needs_a_ca() -> None:
    """Encryption that checks nobody is no choice."""
    with pytest.raises(InvalidInput, match="TLS verify-ca needs a CA"):
        DatabaseTarget(user="u", tls="verify-ca").dsn()


def test_secrets_are_not_shown() -> None:
    """Neither as text, nor as JSON, nor in an error."""
    target, store = DatabaseTarget(user="u", password=SECRET), LogStore(url="s3://b", storage_options={"secret": SECRET})
    with pytest.raises(ValidationError) as refused:
        LogStore(url=f"s3://key:{SECRET}@bucket/")

    shown = [repr(target), str(store), target.model_dump_json(), store.model_dump_json()]
    assert [] == [text for text in shown if SECRET in text]
    assert "the URL holds a secret" in str(refused.value)


def test_other_urls_stay_as_they_are() -> None:
    """Only `block:` is looked up."""
    assert (("s3://b/x", "/var/log"), {}) == stored(("s3://b/x", "/var/log"))
