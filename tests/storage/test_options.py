"""Storage options and the secrets in them."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.storage.options import holds_secret, parse_storage_options

ENVIRONMENT = {"SECRET": "hunter2hunter2", "NUMBER": "42", "EMPTY": ""}

PARSED = [
    ([], {}),
    (["anon=true", "use_ssl=false"], {"anon": True, "use_ssl": False}),
    (["port=22", "shift=-3", "zero=0"], {"port": 22, "shift": -3, "zero": 0}),
    (["account=007", "big=12345678901234567890"], {"account": "007", "big": "12345678901234567890"}),
    (["profile=", "region=a=b"], {"profile": "", "region": "a=b"}),
    (["key=env:SECRET", "secret=env:NUMBER", "token=env:EMPTY"], {"key": "hunter2hunter2", "secret": "42", "token": ""}),
    (
        ["client_kwargs.endpoint_url=http://minio:9000", "client_kwargs.region_name=x", "config_kwargs.retries.max_attempts=1"],
        {"client_kwargs": {"endpoint_url": "http://minio:9000", "region_name": "x"}, "config_kwargs": {"retries": {"max_attempts": 1}}},
    ),
    (["extra.BucketKeyEnabled=true", "extra.SSEKMSKeyId=alias/a"], {"extra": {"BucketKeyEnabled": True, "SSEKMSKeyId": "alias/a"}}),
    (["token=anon", "key_filename=/home/me/.ssh/id"], {"token": "anon", "key_filename": "/home/me/.ssh/id"}),
]

SECRET_NAMES = [
    "secret",
    "key",
    "token",
    "password",
    "passphrase",
    "account_key",
    "connection_string",
    "connectionString",
    "sas_token",
    "credential",
    "client_kwargs.aws_secret_access_key",
    "client_kwargs.aws_session_token",
    "X-Amz-Signature",
    "query",
    "http.query",
    "headers.Authorization",
]

REFUSED = [
    ["anon"],
    ["=x"],
    ["a b=x"],
    ["a..b=x"],
    ["a=1", "a=2"],
    ["a=1", "a.b=2"],
    ["a.b=2", "a=1"],
    ["key=env:NOT_SET"],
    ["key=env:"],
    ["key=env:not a name"],
    [".".join("abcdefghi") + "=x"],
]


@pytest.mark.parametrize(("pairs", "expected"), PARSED)
def test_pairs_become_typed_and_nested_options(pairs: list[str], expected: dict[str, object]) -> None:
    """Words and integers get their type, dots nest, and what comes from the environment stays text."""
    assert expected == parse_storage_options(pairs, ENVIRONMENT)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_written_out_is_refused_and_not_repeated(name: str) -> None:
    """The error shows the option and how to write it, never the value."""
    with pytest.raises(InvalidInput) as caught:
        parse_storage_options([f"{name}=AKIAIOSFODNN7EXAMPLE"], {})
    assert name in str(caught.value)
    assert f"{name}=env:" in str(caught.value)
    assert "AKIA" not in repr(caught.value)


@pytest.mark.parametrize("pairs", REFUSED)
def test_what_is_no_option_is_refused(pairs: list[str]) -> None:
    """Malformed names, doubled names and missing variables are input errors."""
    with pytest.raises(InvalidInput):
        parse_storage_options(pairs, ENVIRONMENT)


def test_a_pair_without_a_name_is_not_repeated() -> None:
    """It may be a secret pasted alone."""
    with pytest.raises(InvalidInput) as caught:
        parse_storage_options(["anon=true", "wJalrXUtnFEMI/K7MDENG"], {})
    assert "wJalr" not in repr(caught.value)
    assert "storage option 2" in str(caught.value)


def test_an_endpoint_with_a_password_is_refused() -> None:
    """A URL with a password is a secret under whatever name."""
    with pytest.raises(InvalidInput) as caught:
        parse_storage_options(["client_kwargs.endpoint_url=http://me:hunter2@minio:9000"], {})
    assert "hunter2" not in repr(caught.value)


@given(st.lists(st.text() | st.from_regex(r"[a-z.]{1,8}=(env:)?\w*", fullmatch=True)), st.dictionaries(st.text(), st.text()))
def test_any_text_gives_options_or_an_input_error(pairs: list[str], environ: dict[str, str]) -> None:
    """Nothing else than an InvalidInput is ever raised."""
    with suppress(InvalidInput):
        assert isinstance(parse_storage_options(pairs, environ), dict)


URLS = [
    ("s3://me:hunter2@bucket/x", True),
    ("sftp://me:hun/ter2@host/x", True),
    ("sftp://me:hun::ter2@host/x", True),
    ("zip://a::sftp://me:hunter2@host/x.zip", True),
    ("https://host/x?X-Amz-Signature=abc", True),
    ("https://host/x?sv=1&sig=abc", True),
    ("sftp://me@host/x", False),
    ("http://host:8080/a@b", False),
    ("s3://bucket/a:b@c", False),
    ("zip://a::s3://bucket/b@c", False),
    ("s3://bucket/x?versionId=abc", False),
    ("/var/lib/mysql/a:b@c?token=1", False),
    ("", False),
]


@pytest.mark.parametrize(("url", "expected"), URLS)
def test_secrets_in_urls_are_recognised(url: str, *, expected: bool) -> None:
    """Passwords before the host and presigned queries are secrets; ports, paths and plain user names are not."""
    assert expected == holds_secret(url)
