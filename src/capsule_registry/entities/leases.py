"""
Leases: a process's hold on session UUIDs, which ends by itself unless it is renewed.

A lease is absent from the moment it runs out, whether or not its row has been reaped: every read
checks the clock.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from sqlalchemy import Select, and_, bindparam, or_, select, update

from capsule_registry.clocks import End
from capsule_registry.database.dialects.expressions import DatabaseNow
from capsule_registry.entities.reservations import release
from capsule_registry.errors import HistoryCorruptError, LeaseLostError, LeaseNotFoundError
from capsule_registry.models.records import Lease
from capsule_registry.schema.tables import leases, namespaces, uuid_mappings
from capsule_registry.unit_of_work.queries import Query, matching, put_in_order, query, rows_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from capsule_registry.clocks import Moment
    from capsule_registry.unit_of_work.queries import LookupScope, Row, Scope
    from capsule_registry.unit_of_work.unit import Unit

_MAX_HOST: Final = 255
#: The columns that tell, beside a lease's own, whether it has run out.
TIMES: Final = (namespaces.c.last_commit_at, DatabaseNow().label("now"))
#: Beside a UUID's columns: when its lease ends, whether it has run out, and how it is joined.
ENDINGS: Final = (leases.c.expires_at, leases.c.boot_id, leases.c.expires_uptime_ms)
ENDS: Final = (*ENDINGS, *TIMES)
OF_UUID: Final = and_(
    leases.c.namespace == uuid_mappings.c.namespace, leases.c.id == uuid_mappings.c.lease_id
)


def _with_times(*by: str) -> Query:
    of_namespace = namespaces.c.name == leases.c.namespace
    statement = select(leases, *TIMES).join(namespaces, of_namespace).where(matching(leases, by))
    found_by = rows_by(leases, *by)
    return Query(leases, by, statement.order_by(leases.c.opened_revision), found_by=found_by)


_all = _with_times()
_by_id = _with_times("id")
_uuids = query(uuid_mappings, "lease_id")
_in_namespace = leases.c.namespace == bindparam("namespace")
_of_id = and_(_in_namespace, leases.c.id == bindparam("lease_id"))
#: The row is locked in a subquery, so that the time is read once the lock is held.
#: Filing a UUID under the lease, which refers to its key, does not wait for the lock.
_lease = select(leases).where(_of_id).with_for_update(key_share=True).subquery("lease")
_locked = select(_lease, *TIMES).join(namespaces, namespaces.c.name == _lease.c.namespace)
_expired_by_time = leases.c.expires_at <= bindparam("time")
_expired_by_uptime = or_(
    leases.c.boot_id != bindparam("boot_id"), leases.c.expires_uptime_ms <= bindparam("uptime_ms")
)


def end_of(lease: Row) -> End | None:
    """Return when *lease*, a row with `ENDINGS`, ends; `None` if it is missing (all null)."""
    if lease["expires_at"] is None:
        return None
    uptime_ms = lease["expires_uptime_ms"]
    if not isinstance(uptime_ms, int) and lease["boot_id"] is not None:
        raise HistoryCorruptError("a lease", f"its expires_uptime_ms is {uptime_ms!r}")
    return End(lease["expires_at"], lease["boot_id"], lease["boot_id"] and uptime_ms)


def is_live(lease: Row, moment: Moment) -> bool:
    """
    Return whether *lease*, a row with `ENDS`, is live at *moment*; a missing one is not.

    Raises:
        HistoryCorruptError: Its namespace is missing.
    """
    if (end := end_of(lease)) is None:
        return False
    if lease["last_commit_at"] is None:
        raise HistoryCorruptError("a lease", "its namespace is missing")
    return end.is_after(moment.not_before(lease["last_commit_at"]))


def is_live_mapping(scope: LookupScope, filed: Row) -> bool:
    """Return whether *filed*, a UUID's row with `ENDS`, belongs to no lease or to a live one."""
    return filed["lease_id"] is None or is_live(filed, scope.clock.moment(filed["now"]))


def find(scope: Scope, lease_id: UUID) -> Row | None:
    """Return the row of that lease, if it is live."""
    row = scope.row(_by_id, id=lease_id)
    return row if row and is_live(row, scope.clock.moment(row["now"])) else None


def list_all(scope: Scope) -> list[Lease]:
    """Return the live leases, in the order in which they were opened."""
    found = scope.rows(_all)
    return [_record(row) for row in found if is_live(row, scope.clock.moment(row["now"]))]


def open_lease(unit: Unit, lease_id: UUID, name: str, ttl: timedelta, actor: str) -> Lease:
    """Open a lease for this process."""
    ttl_ms = ttl // timedelta(milliseconds=1)
    row = {
        "id": lease_id,
        "name": name,
        "host": socket.gethostname()[:_MAX_HOST],
        "pid": os.getpid(),
        "actor": actor,
        "ttl_ms": ttl_ms,
        "opened_at": unit.at,
        "opened_revision": unit.revision,
        "expired_at": None,
        **_end(unit.began, ttl_ms),
    }
    unit.insert(leases, [row], "lease.opened")
    return _record(row)


def renew(scope: Scope, lease_id: UUID) -> Lease:
    """
    Renew the lease for its whole ttl from now; change nothing else and file no event.

    Raises:
        LeaseLostError: It has run out, or was closed.
    """
    row = _lock(scope, lease_id)
    if row is None or not is_live(row, moment := scope.clock.moment(row["now"])):
        raise LeaseLostError(lease_id)
    end = _end(moment.not_before(row["last_commit_at"]), row["ttl_ms"])
    of_row = and_(leases.c.namespace == scope.namespace, leases.c.id == lease_id)
    scope.execute(update(leases).where(of_row).values(end))
    # Others may have seen it run out meanwhile, and it must not come back.
    if not is_live(row, scope.moment()):
        raise LeaseLostError(lease_id)
    return _record({**row, **end})


def hold(unit: Unit, lease_id: UUID) -> None:
    """
    Require that *unit* may write through the lease, now and again when the unit ends.

    Raises:
        LeaseLostError: It has run out, or was closed.
    """
    _require_live(unit, lease_id)
    unit.before_close[lease_id] = partial(_require_live, unit, lease_id)


def _require_live(unit: Unit, lease_id: UUID) -> None:
    if find(unit, lease_id) is None:
        raise LeaseLostError(lease_id)


def close(unit: Unit, lease_id: UUID) -> None:
    """
    Remove the lease and all its UUIDs.

    Raises:
        LeaseNotFoundError: It has run out, or was closed.
    """
    row = find(unit, lease_id)
    if row is None:
        raise LeaseNotFoundError(lease_id)
    unit.before_close.pop(lease_id, None)
    _remove(unit, row, "lease.closed")


def expire(unit: Unit, lease_id: UUID) -> bool:
    """Remove the lease if it had run out when *unit* began; return whether it is gone."""
    row = _lock(unit, lease_id)
    if row is not None and is_live(row, unit.began):
        return False
    if row is not None:
        _expire(unit, row)
    return True


def reap(unit: Unit) -> list[Lease]:
    """Remove and return all leases that have run out."""
    found = _expired_rows(unit, unit.began, lock=True)
    for row in found:
        _expire(unit, row)
    return [_record(row) for row in found]


def any_expired(scope: Scope) -> bool:
    """Return whether there is anything to reap."""
    return bool(_expired_rows(scope, scope.moment(), lock=False))


def _expired_rows(scope: Scope, moment: Moment, *, lock: bool) -> Sequence[Row]:
    parameters: dict[str, Any] = {"namespace": scope.namespace, "time": moment.time}
    condition = _expired_by_time
    if moment.boot_id is not None:
        condition = or_(_expired_by_time, _expired_by_uptime)
        parameters |= {"boot_id": moment.boot_id, "uptime_ms": moment.uptime_ms}
    statement: Select[Any] = select(leases).where(_in_namespace, condition)
    if lock:
        statement = statement.with_for_update(key_share=True)
    found = scope.execute(statement, parameters).mappings().all()
    return put_in_order(leases, found)


def _lock(scope: Scope, lease_id: UUID) -> Row | None:
    parameters = {"namespace": scope.namespace, "lease_id": lease_id}
    return scope.execute(_locked, parameters).mappings().one_or_none()


def _expire(unit: Unit, row: Row) -> None:
    expired_at = min(row["expires_at"], unit.at)
    unit.update(leases, row, {"expired_at": expired_at}, "lease.expired")
    _remove(unit, {**row, "expired_at": expired_at}, "lease.reaped")


def _remove(unit: Unit, row: Row, action: str) -> None:
    held = unit.rows(_uuids, lease_id=row["id"])
    unit.removed(uuid_mappings, held, "uuid.unregistered")
    unit.delete(leases, [row], action)
    for capsule_id in dict.fromkeys(uuid["capsule_id"] for uuid in held):
        release(unit, capsule_id)


def _end(moment: Moment, ttl_ms: int) -> dict[str, Any]:
    uptime = None if moment.uptime_ms is None else moment.uptime_ms + ttl_ms
    return {
        "expires_at": moment.time + timedelta(milliseconds=ttl_ms),
        "boot_id": moment.boot_id,
        "expires_uptime_ms": uptime,
    }


def _record(row: Row) -> Lease:
    try:
        ttl = {"ttl": timedelta(milliseconds=row["ttl_ms"])}
        return Lease(**{name: row[name] for name in Lease.model_fields if name != "ttl"}, **ttl)
    except (TypeError, ValidationError) as error:
        raise HistoryCorruptError(f"lease {row['id']}", str(error)) from error
