"""Prefect blocks: a database to undo in, and a store of logs or plans, with their secrets.

Law: a parameter holds the name of a block, `block:NAME`, never what is in it; the block is opened inside the task that needs it. Prefect
keeps secrets encrypted and shows them as asterisks; here they leave the block only as what a connection or a store is opened with.

    prefect block register -m dblog_tasks.blocks        makes both kinds known to the server; then they are filled in on its page Blocks

    block:NAME as a target              the DatabaseTarget of that name
    block:NAME/FOLDER as a log or plan  below the URL of the LogStore of that name, with its storage options
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import Field, SecretStr, field_validator

from dblog_tasks import storage
from dblog_tasks.errors import InvalidInput
from dblog_tasks.storage.options import holds_secret

BLOCK = "block:"  # how a name of one begins
_B = TypeVar("_B", bound=Block)


class DatabaseTarget(Block):
    """A database server in which plans are replayed. `dblog replay --target block:NAME`, or target block:NAME in a flow, means it.

    Example:
        ```python
        DatabaseTarget(host="db1", user="dblog", password="…").save("shop")
        ```
    """

    _block_type_name = "Database target"
    _block_type_slug = "database-target"
    _description = "A database server in which recovery plans are replayed: where it is, who logs in, and how the way is secured."

    driver: Literal["mysql", "pg"] = Field(
        "mysql", title="Driver", description="What the server is. mysql stands for MariaDB too, pg for PostgreSQL."
    )
    host: str = Field("localhost", title="Host", description="Name or address, as the worker sees it.", examples=["db1.example.org"])
    port: int = Field(0, title="Port", ge=0, le=65535, description="Of the server; 0: the usual one, 3306 or 5432.", examples=[3306, 5432])
    unix_socket: str = Field(
        "",
        title="Unix socket",
        description="Path on the worker, instead of host and port; for PostgreSQL the folder it is in.",
        examples=["/run/mysqld/mysqld.sock", "/run/postgresql"],
    )
    user: str = Field(
        title="User", min_length=1, description="An account for this alone; `dblog doctor` prints the grants.", examples=["dblog"]
    )
    password: SecretStr = Field(SecretStr(""), title="Password", description="Kept encrypted, never shown again. Empty: none.")
    database: str = Field("", title="Database", description="The one in use after logging in; empty: none.", examples=["shop"])
    tls: Literal["off", "verify-ca", "verify-identity"] = Field(
        "off", title="TLS", description="verify-ca: the certificate is signed by the CA below; verify-identity: and it names the host."
    )
    ssl_ca: str = Field("", title="CA", description="File on the worker, for TLS.", examples=["/etc/ssl/certs/db-ca.pem"])
    ssl_cert: str = Field("", title="Client certificate", description="File on the worker, where the server asks for one.")
    ssl_key: str = Field("", title="Client key", description="File on the worker, of the client certificate.")

    def dsn(self) -> str:
        """Return the URL of the server, without the password. Raises InvalidInput for TLS without a CA."""
        if self.tls != "off" and not self.ssl_ca:
            raise InvalidInput(f"TLS {self.tls} needs a CA", where=f"{BLOCK}{self._block_document_name or ''}")
        options = {name: value for name, value in _OPTIONS[self.driver](self).items() if value}
        query = urlencode(options, safe="/", quote_via=quote)
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = self.port or _PORTS[self.driver]
        where = f"{_SCHEMES[self.driver]}://{quote(self.user, safe='')}@{host}:{port}/{quote(self.database, safe='')}"
        return f"{where}?{query}" if query else where


def _mysql_options(target: DatabaseTarget) -> dict[str, str]:
    files = {"ssl_ca": target.ssl_ca, "ssl_cert": target.ssl_cert, "ssl_key": target.ssl_key} if target.tls != "off" else {}
    return {"unix_socket": target.unix_socket, **files, "ssl_verify_identity": "1" if target.tls == "verify-identity" else ""}


def _postgres_options(target: DatabaseTarget) -> dict[str, str]:
    files = {"sslrootcert": target.ssl_ca, "sslcert": target.ssl_cert, "sslkey": target.ssl_key} if target.tls != "off" else {}
    return {"host": target.unix_socket, **files, "sslmode": _SSL_MODES[target.tls]}


_OPTIONS = {"mysql": _mysql_options, "pg": _postgres_options}
_SCHEMES = {"mysql": "mysql", "pg": "postgresql"}
_PORTS = {"mysql": 3306, "pg": 5432}
_SSL_MODES = {"off": "", "verify-ca": "verify-ca", "verify-identity": "verify-full"}


class LogStore(Block):
    """A folder of logs or plans with what it takes to open it. block:NAME/FOLDER, where a log or plan is asked for, means one below it.

    Example:
        ```python
        LogStore(url="s3://backups/binlogs", storage_options={"key": "…", "secret": "…"}).save("backups")
        ```
    """

    _block_type_name = "Log store"
    _block_type_slug = "log-store"
    _description = "A folder of database logs or recovery plans at any URL, with the options and secrets to open it."

    url: str = Field(
        title="URL",
        min_length=1,
        description="A folder: file, s3, gs, az, sftp, https. No secret in it.",
        examples=["s3://backups/binlogs", "file:///var/lib/mysql"],
    )
    storage_options: SecretDict = Field(
        default_factory=lambda: SecretDict({}),
        title="Storage options",
        description='As JSON, for fsspec: {"key": "…", "secret": "…", "client_kwargs": {"endpoint_url": "…"}}. Kept encrypted.',
    )

    @field_validator("url")
    @classmethod
    def without_secret(cls, url: str) -> str:
        """Refuse a URL that holds a password or a token."""
        if holds_secret(url):
            raise ValueError("the URL holds a secret: it goes into the storage options")
        return url


def database_target(name: str) -> tuple[str, str]:
    """Return DSN and password of the target `block:NAME`. Raises InvalidInput when there is none."""
    block = _load(DatabaseTarget, name)
    return block.dsn(), block.password.get_secret_value()


def stored(urls: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return URLs with `block:NAME/FOLDER` resolved, and the storage options of the blocks; others as they are.

    Raises InvalidInput when there is no such block, or when two of them would open one URL with different options.
    """
    found: list[str] = []
    options: dict[str, Any] = {}
    for url in urls:
        if not url.startswith(BLOCK):
            found.append(url)
            continue
        name, _, below = url.removeprefix(BLOCK).partition("/")
        block = _load(LogStore, BLOCK + name)
        opened = block.storage_options.get_secret_value()
        if options and opened and options != opened:
            raise InvalidInput("logs and plans of one run are opened with one set of storage options", where=url)
        options = options or opened
        found.append(storage.join(block.url, below) if below else block.url)
    return tuple(found), options


def _load(kind: type[_B], name: str) -> _B:
    plain = name.removeprefix(BLOCK)
    try:
        return kind.load(plain)  # type: ignore[return-value]  # outside of a coroutine it is the block
    except ValueError:
        raise InvalidInput(f"there is no {kind.__name__} of this name", where=name, hint="make one on Prefect's page Blocks") from None
