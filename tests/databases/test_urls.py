"""A URL opens what it says; what is not understood is refused, with the spelling that is meant."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from capsule_registry import CapsuleRegistry, InvalidDatabaseError
from capsule_registry.database.address import read_address
from support.commands import invoke
from support.factories import make_manifest

if TYPE_CHECKING:
    from support.backends import SqliteBackend

#: Takes the place of whatever must not be shown.
CANARY = "canary"

#: What is refused, and what to write instead.
_DRIVERS = {
    f"sqlite+pysqlcipher://:{CANARY}@/r.db": "write sqlite://",
    "sqlite+aiosqlite:///r.db": "write sqlite://",
    "sqlite+pysqlite_numeric:///r.db": "write sqlite://",
    "sqlite+:///r.db": "write sqlite://",
    "sqlite3:///r.db": "write sqlite://",
    "SQLite:///r.db": "write sqlite://",
    "postgres://h/d": "write postgresql://",
    "postgres+asyncpg://h/d": "write postgresql://",
    "postgresql+psycopg2://h/d": "write postgresql://",
    "postgresql+psycopg_async://h/d": "write postgresql://",
    "postgresql+psycopg2cffi://h/d": "write postgresql://",
    "postgresql+pg8000://h/d": "write postgresql://",
    "postgresql+asyncpg://h/d": "write postgresql://",
    "mysql+mysqldb://h/d": "write mysql://",
    "mysql+mysqlconnector://h/d": "write mysql://",
    "mysql+aiomysql://h/d": "write mysql://",
    "mysql+asyncmy://h/d": "write mysql://",
    "mariadb+mysqldb://h/d": "write mariadb://",
    "mariadb+mariadbconnector://h/d": "write mariadb://",
    "mariadb+pymysql+x://h/d": "write mariadb://",
    "oracle://h/d": "use sqlite:///FILE",
    "cockroachdb://h/d": "use sqlite:///FILE",
    "duckdb:///r.db": "use sqlite:///FILE",
    "file:///r.db": "use sqlite:///FILE",
    "file:r.db?mode=ro": "use sqlite:///FILE",
    "r.db": "use sqlite:///FILE",
    "/r.db": "use sqlite:///FILE",
    "C:\\r.db": "use sqlite:///FILE",
    "sqlite:r.db": "use sqlite:///FILE",
    "sqlite:/r.db": "use sqlite:///FILE",
    f"host=h password={CANARY}": "use sqlite:///FILE",
    "": "use sqlite:///FILE",
}
_FILES = {
    f"sqlite://:{CANARY}@/r.db": "no user, password, host or port",
    f"sqlite://{CANARY}@/r.db": "no user, password, host or port",
    f"sqlite://{CANARY}:{CANARY}@host/r.db": "no user, password, host or port",
    "sqlite://r.db": "sqlite:///relative/path",
    "sqlite://host/r.db": "no user, password, host or port",
    "sqlite://:1/r.db": "no user, password, host or port",
    "sqlite://@/r.db": "no user, password, host or port",
    f"sqlite://?key={CANARY}": "no user, password, host or port",
    "sqlite:///r.db?": "To read only, say read_only",
    "sqlite:///r.db?readonly": "To read only, say read_only",
    "sqlite:///r.db?mode=ro": "To read only, say read_only",
    f"sqlite:///r.db?key={CANARY}": "no options",
    "sqlite:///?mode=memory": "no options",
    "sqlite:///:memory:?cache=shared": "no options",
    "sqlite:///file:r.db?mode=ro&uri=true": "no options",
    "sqlite:///file:r.db": "another URL",
    "sqlite:///file::memory:": "another URL",
    f"sqlite:///r.db#{CANARY}": "fragments",
    "sqlite:///r%20s.db": "a blank as a blank",
    "sqlite:///r%2Fs.db": "escapes",
    "sqlite:///100%25.db": "symbolic link",
    "sqlite:///100%": "symbolic link",
    "sqlite:///C:\\r.db": "as it is",
    "sqlite:///": "sqlite:// (in memory)",
    "sqlite:////": "it names a directory",
    "sqlite:///new/": "it names a directory",
    "sqlite:///.": "it names a directory",
    "sqlite:///new/.": "it names a directory",
    "sqlite:///new/..": "it names a directory",
    "sqlite:///r\udc00\ud800s.db": "surrogate",
}
_TEXTS = {
    "sqlite:///r.db\n": "leave that out",
    "sqlite:///r.db\r\n": "leave that out",
    "sqlite:///r.db ": "leave that out",
    "sqlite:///r.db\u00a0": "leave that out",
    "sqlite:///r.db\u200b": "leave that out",
    "\ufeffsqlite:///r.db": "leave that out",
    " sqlite:///r.db": "leave that out",
    "sqlite:///r\n.db": "a control character",
    "sqlite:///r\0.db": "a control character",
    "sqlite:///r\u2028.db": "a control character",
    "postgresql://h/d\n": "leave that out",
    "mariadb://h/d\t": "leave that out",
    f"postgresql://h/d?password={CANARY}\nx": "a control character",
}
_SERVERS = {
    f"postgresql://u:a@{CANARY}@h/d": "@ as %40",
    f"postgresql://u:{CANARY}/@h/d": "/ as %2F",
    f"mariadb://u:{CANARY}?@h/d": "? as %3F",
    f"postgresql://h:{CANARY}/d": "host:port",
    "postgresql://h:/d": "host:port",
    "postgresql://h:0/d": "from 1 to 65535",
    "mariadb://h:65536/d": "from 1 to 65535",
    "postgresql://[::1]h/d": "host:port",
    f"postgresql://h/d#{CANARY}": "# as %23",
    f"mariadb://h/d?ssl_ca=a#{CANARY}": "# as %23",
    "postgresql://h/d?readonly": "'readonly' has no value",
    "mariadb://h/d?ssl=": "'ssl' has no value",
    f"postgresql://h/d?={CANARY}": "has no value",
    f"postgresql://h/d?sslmode=require&sslmode={CANARY}": "'sslmode' is given twice",
    f"postgresql://h/d?host={CANARY}": "'host' says again",
    f"postgresql://h:1/d?port={CANARY}": "'port' says again",
    f"postgresql://u:p@h/d?user={CANARY}": "'user' says again",
    f"mariadb://u:p@h/d?password={CANARY}": "'password' says again",
    f"mariadb://u:p@h/d?passwd={CANARY}": "'passwd' says again",
    f"postgresql://h/d?dbname={CANARY}": "'dbname' says again",
    f"postgresql:///d?plugin={CANARY}": "'plugin' is not supported",
    f"postgresql:///d?host=h:{CANARY}": "NAME:PORT",
    f"postgresql:///d?host=u:{CANARY}@h:1": "NAME:PORT",
    f"postgresql:///d?host={CANARY}@h,b": "NAME:PORT",
    "mariadb:///d?host=a,,b": "NAME:PORT",
    "mariadb:///d?host=a:70000,b": "from 1 to 65535",
    f"mariadb:///d?host=a:1,b&port={CANARY}": "the port is given twice",
    f"postgresql://u:{CANARY}%00@h/d": "%00",
}
REFUSED = {**_DRIVERS, **_FILES, **_TEXTS, **_SERVERS}


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.mark.parametrize(("url", "remedy"), REFUSED.items(), ids=map(ascii, REFUSED))
def test_what_is_not_understood_is_refused(url: str, remedy: str) -> None:
    """Nothing is created, the message says what to write, and no value of the URL is shown."""
    with pytest.raises(InvalidDatabaseError) as caught:
        CapsuleRegistry.open(url)

    assert remedy in str(caught.value)
    assert [] == [*Path.cwd().iterdir()]
    assert CANARY not in f"{caught.value!r} {''.join(traceback.format_exception(caught.value))}"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("option", ["--database", "variable"])
@pytest.mark.parametrize(
    "url", ["sqlite:///r.db\n", "sqlite+aiosqlite:///r.db", "sqlite:///r.db?x"]
)
def test_the_command_refuses_it_too(url: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is invalid input, said in one line, wherever the URL is from."""
    monkeypatch.setenv("CAPSULE_REGISTRY_DATABASE", url)
    result = invoke(*([option, url] if option == "--database" else []), "namespaces", "create", "a")

    assert (5, 1) == (result.exit_code, result.stderr.count("\n"))
    assert [] == [*Path.cwd().iterdir()]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///r.db", "r.db"),
        ("sqlite+pysqlite:///r.db", "r.db"),
        ("sqlite:///a b.db", "a b.db"),
        ("sqlite:///ü 🦊 e\u0301.db", "ü 🦊 e\u0301.db"),
        ("sqlite:///a\u200db", "a\u200db"),
        ("sqlite:///a:b@c;d&e=f+g,h", "a:b@c;d&e=f+g,h"),
        ("sqlite:///./x/../r.db", "r.db"),
        ("sqlite:///./file:r.db", "file:r.db"),
        ("sqlite:///./:memory:", ":memory:"),
        ("sqlite:///r", "r"),
        ("sqlite:///~", "~"),
    ],
)
def test_a_path_is_taken_as_it_is(sqlite: SqliteBackend, url: str, name: str) -> None:
    """The file has exactly the name in the URL, also when that is given absolutely."""
    CapsuleRegistry.open(url).close()
    found = {path.name for path in Path.cwd().iterdir()}
    with CapsuleRegistry.open(f"sqlite:///{Path.cwd()}/{name}", read_only=True) as registry:
        assert Path.cwd() / name == registry._database.address.file

    assert {name, f"{name}-next", f"{name}-turn"} == found


def test_a_working_directory_that_is_gone_is_said() -> None:
    """A relative path leads nowhere then."""
    Path.cwd().rmdir()
    with pytest.raises(InvalidDatabaseError, match="cannot be resolved"):
        CapsuleRegistry.open("sqlite:///r.db")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite+pysqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_leaves_no_file(sqlite: SqliteBackend, url: str) -> None:
    """Its two spellings mean the same."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())

    assert [] == [*Path.cwd().iterdir()]


@pytest.mark.parametrize("character", "?#%\\")
def test_a_file_of_any_name_can_be_reached(sqlite: SqliteBackend, character: str) -> None:
    """A symbolic link gives a name without the characters that a URL cannot have."""
    file = Path.cwd() / f"a{character}41"
    CapsuleRegistry.open("sqlite:///plain").close()
    Path("plain").rename(file)
    Path("link").symlink_to(file)
    with CapsuleRegistry.open("sqlite:///link") as registry:
        registry.register(make_manifest())

    assert file == registry._database.address.file


@pytest.mark.parametrize(
    ("url", "driver", "parts"),
    [
        ("postgresql://u:p%40%2F@h:1/d", "postgresql+psycopg", ("u", "p@/", "h", 1, "d")),
        (
            "postgresql+psycopg://u:p#a b@[::1]/d",
            "postgresql+psycopg",
            ("u", "p#a b", "::1", None, "d"),
        ),
        ("postgresql://h:1/d?options=a@b", "postgresql+psycopg", (None, None, "h", 1, "d")),
        ("postgresql:///d?host=/run/x", "postgresql+psycopg", (None, None, "/run/x", None, "d")),
        ("mariadb://u@h/d?ssl_ca=/a%23b", "mariadb+pymysql", ("u", None, "h", None, "d")),
        ("mysql://h/d", "mariadb+pymysql", (None, None, "h", None, "d")),
        ("mysql+pymysql://h/d", "mariadb+pymysql", (None, None, "h", None, "d")),
        ("mariadb+pymysql:///d?host=h:1", "mariadb+pymysql", (None, None, "h", 1, "d")),
    ],
)
def test_a_servers_url_is_taken_whole(url: str, driver: str, parts: tuple[Any, ...]) -> None:
    """Escapes are decoded, and the driver is the one that is supported."""
    found = read_address(url).url

    assert driver == found.drivername
    assert parts == (found.username, found.password, found.host, found.port, found.database)


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("postgresql", "psycopg2"),
        ("postgresql", "psycopg_async"),
        ("postgresql", "asyncpg"),
        ("postgresql", "pg8000"),
        ("mysql", "mysqldb"),
        ("mariadb", "mysqldb"),
        ("mariadb", "mariadbconnector"),
        ("mysql", "aiomysql"),
        ("oracle", "oracledb"),
        ("sqlite", "aiosqlite"),
    ],
)
def test_an_engine_of_another_driver_is_refused(name: str, driver: str) -> None:
    """Also where its URL does not say which driver it has; the engine is not used."""
    engine: Any = SimpleNamespace(
        url=sa.make_url(f"{name}://u:{CANARY}@h/d"),
        dialect=SimpleNamespace(name=name, driver=driver),
    )
    with pytest.raises(InvalidDatabaseError, match=rf"{name}\+{driver}://…: ") as caught:
        CapsuleRegistry.open(engine=engine)

    assert CANARY not in repr(caught.value)
