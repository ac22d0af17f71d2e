"""
Units inside transactions that the host began, until it is known how those ended.

The host commits, and nothing is called after it has: a COMMIT that was sent may still fail. So what
a unit has done to this process's memory is settled by the next unit, which asks the history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sqlalchemy import event

from capsule_registry.unit_of_work.head import is_recorded
from capsule_registry.unit_of_work.requests import log_messages

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from capsule_registry.unit_of_work.unit import Unit


class HostTransactions:
    """The units that joined a transaction of the host; what they did is logged at its COMMIT."""

    def __init__(self) -> None:
        self._open: WeakKeyDictionary[Connection, list[Unit]] = WeakKeyDictionary()
        self._sent: list[Unit] = []

    def add(self, unit: Unit) -> None:
        """Follow *unit*, on the connection of the host, until the host ends the transaction."""
        if unit.conn not in self._open:
            event.listen(unit.conn, "commit", self._send)
            event.listen(unit.conn, "rollback", self._roll_back)
        self._open.setdefault(unit.conn, []).append(unit)

    def settle(self, holder: Unit) -> None:
        """Undo in memory what did not commit, now that *holder* holds the head."""
        while self._sent:
            unit = self._sent.pop(0)
            if is_recorded(holder, unit):
                unit.committed()
            else:
                unit.roll_back()

    def _send(self, conn: Connection) -> None:
        for unit in self._taken(conn):
            self._sent.append(unit)
            log_messages(unit)

    def _roll_back(self, conn: Connection) -> None:
        for unit in reversed(self._taken(conn)):
            unit.roll_back()

    def _taken(self, conn: Connection) -> list[Unit]:
        units, self._open[conn] = self._open.get(conn, []), []
        return units
