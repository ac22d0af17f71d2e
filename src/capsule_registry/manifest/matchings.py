"""How an entry of a manifest is compared with what is asked."""

from __future__ import annotations

from enum import StrEnum


class Matching(StrEnum):
    """The name of a comparison, as a column of `grants`; `permissions` has the rule of each."""

    #: The flag is set; nothing is asked.
    FLAG = "flag"
    #: A level of `identity`.
    LEVEL = "level"
    #: The same, or an operation that needs it.
    OPERATION = "operation"
    #: A key, or `*` for any.
    KEY = "key"
    #: Topics of the same number of segments, of which `*` covers any one.
    SEGMENTS = "segments"
    #: The same; and a trailing `.*` covers a whole subtree.
    SUBTREE = "subtree"
    #: A host or what lies below it, as written; `*` covers any.
    HOST = "host"
    #: The same, whatever the case of the entry.
    HOST_ANY_CASE = "host_any_case"
    #: A host and its port, or `*` for any port.
    HOST_PORT = "host_port"
    #: A path under the logical schemes of today's gate.
    PATH = "path"
    #: A path under the scheme that the manifest writes.
    WRITTEN_PATH = "written_path"
    #: A command line that begins with the words of the entry.
    COMMAND = "command"
    #: The same, with the empty program.
    PROGRAM = "program"
    #: The socket of the command, by any entry; no address.
    SOCKET = "socket"
    #: The socket of the command, by an entry `unix:`; a local address, by its host and port.
    BIND = "bind"
    #: The socket, by any entry, if none is named; else as `bind`.
    ANY_OR_BIND = "any_or_bind"
    #: None: a row that does not say how it is compared covers nothing.
    NOTHING = "nothing"
