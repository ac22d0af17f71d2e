"""What is read back of a connection and its database, and what it must be for the guarantees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Probe:
    """A statement that gives one value; any other than those *wanted* is a problem."""

    name: str
    statement: str
    #: Empty where the value is only shown.
    wanted: frozenset[str] = field(default_factory=frozenset)
    remedy: str = ""

    def problem(self, value: str) -> str | None:
        """Return what is wrong with *value*, or `None`."""
        if not self.wanted or value in self.wanted:
            return None
        return self.remedy or f"{' or '.join(sorted(self.wanted))} is needed"


_ON: Final = frozenset({"on"})
_ONE: Final = frozenset({"1"})
_NONE: Final = frozenset({"0"})
_YES: Final = frozenset({"yes"})
_LOSES: Final = "commits that were acknowledged can be lost: set it on the server"

SQLITE: Final = (
    Probe("foreign_keys", "PRAGMA foreign_keys", _ONE),
    Probe("synchronous", "PRAGMA synchronous", frozenset({"2"})),
    Probe("busy_timeout in ms", "PRAGMA busy_timeout"),
    Probe("integrity", "PRAGMA quick_check(1)", frozenset({"ok"}), "restore from a backup"),
)

POSTGRESQL: Final = (
    Probe("server", "SHOW server_version"),
    Probe(
        "supported",
        "SELECT CASE WHEN current_setting('server_version_num')::int >= 140000"
        " THEN 'yes' ELSE 'no' END",
        _YES,
        "PostgreSQL 14 or newer is needed",
    ),
    Probe("user", "SELECT session_user"),
    Probe("fsync", "SHOW fsync", _ON, _LOSES),
    Probe("full_page_writes", "SHOW full_page_writes", _ON, _LOSES),
    Probe(
        "synchronous_commit",
        "SHOW synchronous_commit",
        frozenset({"on", "local", "remote_write", "remote_apply"}),
        _LOSES,
    ),
    Probe("encoding", "SHOW server_encoding", frozenset({"UTF8"}), "some texts cannot be held"),
    Probe("session_replication_role", "SHOW session_replication_role", frozenset({"origin"})),
    Probe(
        "columns of another collation than C",
        "SELECT count(*) FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND data_type = 'character varying'"
        " AND table_name IN ('capsules', 'events', 'namespaces', 'uplinks', 'uuid_mappings')"
        " AND collation_name IS DISTINCT FROM 'C'",
        _NONE,
        "texts that differ may compare as equal",
    ),
    Probe("lock_timeout", "SHOW lock_timeout"),
    Probe("statement_timeout", "SHOW statement_timeout"),
    Probe(
        "standby",
        "SELECT CASE WHEN pg_is_in_recovery() THEN 'yes' ELSE 'no' END",
        frozenset({"no"}),
        "a standby may be behind: decide nothing from it",
    ),
    Probe(
        "bytes received and not applied",
        "SELECT CASE WHEN pg_is_in_recovery() THEN"
        " pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text"
        " ELSE 'no standby' END",
    ),
    Probe("synchronous_standby_names", "SHOW synchronous_standby_names"),
    Probe(
        "standbys",
        "SELECT CASE WHEN pg_is_in_recovery() THEN 'not asked' ELSE (SELECT"
        " coalesce(string_agg(concat_ws(' ', application_name, state, sync_state,"
        " pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 'bytes behind'), '; '), 'none')"
        " FROM pg_stat_replication) END",
    ),
    Probe(
        "TLS",
        "SELECT coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()), 'no')",
    ),
)

MARIADB: Final = (
    Probe("server", "SELECT VERSION()"),
    Probe(
        "supported",
        "SELECT IF(SUBSTRING_INDEX(VERSION(), '.', 1) + 0 > 10"
        " OR SUBSTRING_INDEX(VERSION(), '.', 2) = '10.11', 'yes', 'no')",
        _YES,
        "MariaDB 10.11 or newer is needed",
    ),
    Probe("user", "SELECT CURRENT_USER()"),
    Probe(
        "innodb_flush_log_at_trx_commit", "SELECT @@innodb_flush_log_at_trx_commit", _ONE, _LOSES
    ),
    Probe("innodb_doublewrite", "SELECT @@innodb_doublewrite", _ONE, _LOSES),
    Probe(
        "binary log",
        "SELECT IF(@@log_bin, IF(@@sync_binlog = 1, 'synchronous', 'not synchronous'), 'off')",
        frozenset({"off", "synchronous"}),
        "set sync_binlog = 1: a replica can have what this server lost",
    ),
    Probe("foreign_key_checks", "SELECT @@foreign_key_checks", _ONE),
    Probe(
        "strict",
        "SELECT IF(FIND_IN_SET('STRICT_ALL_TABLES', @@sql_mode), 'yes', 'no')",
        _YES,
        "texts may be cut short",
    ),
    Probe(
        "tables of another engine than InnoDB",
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
        " AND table_type = 'BASE TABLE' AND engine <> 'InnoDB'",
        _NONE,
        "nothing that is done to them can be rolled back",
    ),
    Probe(
        "columns of another collation than utf8mb4_nopad_bin",
        "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()"
        " AND data_type = 'varchar'"
        " AND table_name IN ('capsules', 'events', 'namespaces', 'uplinks', 'uuid_mappings')"
        " AND collation_name <> 'utf8mb4_nopad_bin'",
        _NONE,
        "texts that differ may compare as equal",
    ),
    Probe("innodb_lock_wait_timeout in s", "SELECT @@innodb_lock_wait_timeout"),
    Probe("max_statement_time in s", "SELECT @@max_statement_time"),
    Probe("cluster", "SELECT IF(@@wsrep_on, 'yes', 'no')"),
    Probe(
        "cluster status",
        "SELECT IF(@@wsrep_on, (SELECT variable_value FROM information_schema.global_status"
        " WHERE variable_name = 'wsrep_cluster_status'), 'no cluster')",
        frozenset({"Primary", "no cluster"}),
        "the node is in a minority, and answers nothing",
    ),
    Probe(
        "cluster size",
        "SELECT IF(@@wsrep_on, (SELECT variable_value FROM information_schema.global_status"
        " WHERE variable_name = 'wsrep_cluster_size'), 'no cluster')",
    ),
    Probe(
        "wsrep_sync_wait",
        "SELECT IF(@@wsrep_on, @@wsrep_sync_wait & 1, 'no cluster')",
        frozenset({"1", "no cluster"}),
        "reads would miss what other nodes have acknowledged",
    ),
    Probe(
        "TLS",
        "SELECT IF(variable_value = '', 'no', variable_value)"
        " FROM information_schema.session_status WHERE variable_name = 'Ssl_version'",
    ),
)
