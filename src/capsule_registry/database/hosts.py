"""
Failover among the hosts of one URL: each connection goes to the first that accepts it.

So all writers use one host as long as it lives, which avoids conflicts between nodes. A host that
has just failed is tried last, and its earlier connections are not used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from capsule_registry.database.driver_errors import UnconnectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from capsule_registry.database.address import Host

#: How long a failed host is tried last.
_AVOIDED_SECONDS: Final = 20.0
#: The key of a connection's `_Origin` in its `info`.
_ORIGIN: Final = "capsule_registry.origin"
#: The key in a connection's `info` of whether it has a session of its own.
HAS_SESSION: Final = "capsule_registry.has_session"
_NEVER: Final = float("-inf")


@dataclass(slots=True)
class HostState:
    """A host, and when it last failed."""

    address: Host | None
    failed_at: float = _NEVER

    def fail(self) -> None:
        """Record a failure now."""
        self.failed_at = monotonic()

    @property
    def disfavour(self) -> float:
        """The sort key of the order to try hosts in: the most recent failure last."""
        is_recent = monotonic() - self.failed_at < _AVOIDED_SECONDS
        return self.failed_at if is_recent else _NEVER


@dataclass(slots=True)
class _Origin:
    """The host of a connection, when it was made, and whether it is yet to be checked out."""

    host: HostState
    made_at: float
    is_new: bool = True


class Hosts:
    """Makes the driver connections of engines, to one of several hosts."""

    def __init__(self, hosts: Sequence[Host], greet: Callable[[Any], bool]) -> None:
        self._hosts = [*map(HostState, hosts)] or [HostState(None)]
        self._greet = greet

    def serve(self, engine: Engine) -> None:
        """Make all new connections of *engine*."""
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "invalidate", self._note)
        event.listen(engine, "checkout", _refuse_of_failed)

    def _connect(self, dialect: Any, record: Any, args: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401 - SQLAlchemy's own
        *others, last = sorted(self._hosts, key=lambda host: host.disfavour)
        for host in others:
            try:
                return self._connect_to(host, dialect, record, args, options)
            except (dialect.loaded_dbapi.OperationalError, UnconnectedError):
                host.fail()
        return self._connect_to(last, dialect, record, args, options)

    def _connect_to(
        self,
        host: HostState,
        dialect: Any,  # noqa: ANN401 - as above
        record: Any,  # noqa: ANN401
        args: Any,  # noqa: ANN401
        options: dict[str, Any],
    ) -> Any:  # noqa: ANN401
        if host.address is not None:
            options = {**options, **host.address.options}
        made_at = monotonic()
        connection = dialect.connect(*args, **options)
        try:
            record.info[HAS_SESSION] = self._greet(connection)
        except BaseException:
            connection.close()
            raise
        record.info[_ORIGIN] = _Origin(host, made_at)
        return connection

    @staticmethod
    def _note(connection: object, record: Any, exception: object) -> None:  # noqa: ARG004, ANN401
        note_failure(record.info)


def note_failure(info: dict[Any, Any]) -> None:
    """Record a failure of the host of the connection with this *info*."""
    if _ORIGIN in info:
        info[_ORIGIN].host.fail()


def _refuse_of_failed(connection: object, record: Any, proxy: object) -> None:  # noqa: ARG001, ANN401 - SQLAlchemy's own
    """Make the pool replace a connection whose host has failed since it was made."""
    origin: _Origin | None = record.info.get(_ORIGIN)
    if origin is None:
        return
    # The host has just answered a new connection, even if another connection failed meanwhile.
    is_new, origin.is_new = origin.is_new, False
    if not is_new and origin.host.failed_at > origin.made_at:
        raise DisconnectionError
