"""Servers of the tests' own that ask for a password, through TLS or their Unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import sqlalchemy as sa

from support.servers import Mariadb, Postgresql, Server, found

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class TlsServer(Server):
    """A server with a certificate that it has signed itself."""

    #: The statements that create a user and a database of its own, and a query of what a client is.
    setup: ClassVar[tuple[str, ...]]
    sees: ClassVar[str]

    def start(self) -> None:
        self._certify()
        super().start()

    def _certify(self) -> None:
        names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        command = [found("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
        subprocess.run([*command, *names, *files], check=True, capture_output=True)
        self.directory.chmod(0o755)  # The certificate is read by whoever runs the tests.
        self.certificate.chmod(0o644)
        self.key.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(self.key, self.user, self.user)

    @property
    def certificate(self) -> Path:
        """What a client verifies the server by."""
        return self.directory / "certificate.pem"

    @property
    def key(self) -> Path:
        """The server's own."""
        return self.directory / "key.pem"

    @property
    @abstractmethod
    def root(self) -> sa.URL:
        """The URL by which users are created."""

    @property
    @abstractmethod
    def by_socket(self) -> dict[str, str]:
        """The options of a URL that name the Unix socket."""

    @property
    @abstractmethod
    def options(self) -> dict[str, str]:
        """Options of a URL, that demand TLS among others."""

    def _answers(self) -> bool:
        engine = sa.create_engine(self.root)
        try:
            engine.connect().close()
        except sa.exc.OperationalError:  # It is not there yet, or still starting up.
            return False
        finally:
            engine.dispose()
        return True

    def create(self, user: str, password: str, database: str) -> None:
        """Create *user*, and a *database* that is the user's."""
        engine = sa.create_engine(self.root, isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            for statement in self.setup:
                whole = statement.format(user=user, password=password, database=database)
                conn.exec_driver_sql(whole.replace("%", "%%"))
        engine.dispose()


class TlsPostgresql(TlsServer, Postgresql):
    """PostgreSQL."""

    setup = (
        'CREATE ROLE "{user}" LOGIN PASSWORD $${password}$$',
        'CREATE DATABASE "{database}" OWNER "{user}"',
    )
    sees = (
        "SELECT 'as ' || current_user, 'on ' || current_database(),"
        " 'by ' || coalesce(inet_server_port()::text, 'socket'),"
        " 'tls ' || ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid();"
        " SHOW statement_timeout;"
    )

    def command(self) -> Sequence[str]:
        rules = ("local all postgres trust", "local all all scram-sha-256")
        text = "\n".join([*rules, "hostssl all all 127.0.0.1/32 scram-sha-256", ""])
        (self.directory / "data" / "pg_hba.conf").write_text(text)
        files = (f"ssl_cert_file={self.certificate}", f"ssl_key_file={self.key}")
        return [*super().command(), "-c", "ssl=on", "-c", files[0], "-c", files[1]]

    @property
    def root(self) -> sa.URL:
        return sa.make_url("postgresql+psycopg://postgres@/postgres").set(query=self.by_socket)

    @property
    def by_socket(self) -> dict[str, str]:
        return {"host": str(self.directory), "port": str(self.port)}

    @property
    def options(self) -> dict[str, str]:
        more = {"options": "-c statement_timeout=54321ms", "keepalives_idle": "7"}
        return {"sslmode": "verify-full", "sslrootcert": str(self.certificate), **more}


class TlsMariadb(TlsServer, Mariadb):
    """MariaDB."""

    setup = (
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "CREATE USER `{user}`@'127.0.0.1' IDENTIFIED BY \"{password}\" REQUIRE SSL",
        "CREATE USER `{user}`@'localhost' IDENTIFIED BY \"{password}\"",
        "CREATE DATABASE `{database}`",
        "GRANT ALL ON `{database}`.* TO `{user}`@'127.0.0.1'",
        "GRANT ALL ON `{database}`.* TO `{user}`@'localhost'",
    )
    sees = (
        "SELECT CONCAT('as ', SUBSTRING_INDEX(CURRENT_USER(), '@', 1)),"
        " CONCAT('on ', DATABASE()), CONCAT('by ', @@port), IF((SELECT variable_value FROM"
        " information_schema.session_status WHERE variable_name = 'Ssl_version') = '',"
        " 'tls false', 'tls true'), @@max_statement_time;"
    )

    def command(self) -> Sequence[str]:
        files = (f"--ssl-cert={self.certificate}", f"--ssl-key={self.key}")
        return [*super().command(), *files]

    @property
    def root(self) -> sa.URL:
        return sa.make_url(self.url).set(drivername="mariadb+pymysql")

    @property
    def by_socket(self) -> dict[str, str]:
        return {"unix_socket": str(self.directory / "socket")}

    @property
    def options(self) -> dict[str, str]:
        more = {"init_command": "SET max_statement_time = 54.321", "read_timeout": "20"}
        return {"ssl_ca": str(self.certificate), "connect_timeout": "7", **more}


TLS_SERVERS: dict[str, type[TlsPostgresql | TlsMariadb]] = {
    "postgresql": TlsPostgresql,
    "mariadb": TlsMariadb,
}
