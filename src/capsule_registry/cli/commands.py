"""The commands: in which module each is, and what `--help` says of it before that is loaded."""

from __future__ import annotations

from typing import Final

#: By module, in which every command is found under its name.
_BY_MODULE: Final = {
    "permissions": {
        "check": "Say whether the sender with the session UUID may do something; exit 9 if not.",
        "grants": "List what capsules may do, or who may do something.",
        "interceptors": (
            "List the actions that an event of TOPIC calls for, of the capsules that are ready."
        ),
        "providers": (
            "List all who offer what meets the requirement CAPABILITY, such as topic:llm.*."
        ),
        "boot-order": (
            "Print the ids in the order in which capsules start; exit 1 if some wait in a circle."
        ),
        "graph": (
            "Draw who needs whom: an arrow from each capsule to all who provide what it requires."
        ),
    },
    "syncing": {
        "sync": (
            "Register the capsules of DIRECTORY that are new, and replace those that were changed."
        ),
        "export": "Write what is registered to FILE as lines of JSON, for `import`.",
        "import": (
            "Register what `export` has written to FILE, in revisions of a thousand lines at most."
        ),
    },
    "operations": {
        "db": "Upgrade, look at and copy the database.",
        "doctor": (
            "Show what was read back of the database and its settings; exit 1 if anything is wrong."
        ),
        "sql": "Open the database's own shell, or run one QUERY; neither can write.",
        "namespaces": "List, create and drop the registries in the database.",
    },
    "history": {
        "log": "Show what has happened, oldest first: who, when, why, and each change.",
        "watch": (
            "Follow what happens: each revision as a line, or as a line of JSON, as it commits."
        ),
        "diff": (
            "Show what differs between two moments (revisions or times), or between one and now."
        ),
        "audit": "Check, anchor, export and prune the history.",
    },
    "leases": {
        "leases": "Hold session UUIDs for a time, and see who does.",
    },
    "listing": {
        "list": "List the registered capsules, in the order of their registration.",
        "show": "Show all of one capsule, its manifest included.",
        "uplinks": "List the uplinks, in the order of their registration.",
        "tools": "List the tools of all capsules, or every tool called NAME.",
        "uuids": "List the session UUIDs, in the order in which they were filed.",
        "resolve": "Print the id of the capsule that UUID is filed under.",
    },
    "registering": {
        "register": (
            "Register the capsules at each PATH: a manifest, a capsule's directory, or one of"
            " several."
        ),
        "replace": (
            "Put the capsule at PATH, a manifest or a directory, in the place of the "
            "registered one."
        ),
        "set-state": "Set the state of the capsule ID: only one that is ready is allowed anything.",
        "wait-ready": (
            "Wait until each capsule is ready or has failed; exit 1 unless all are ready."
        ),
        "unregister": "Unregister each capsule with its uplinks and UUIDs.",
        "register-uuid": "File UUID, or a new one, under the capsule ID, and print it.",
        "drain": "Unregister everything in the namespace, in one revision.",
    },
}
#: What each command does, by name.
SUMMARIES: Final = {
    name: summary for commands in _BY_MODULE.values() for name, summary in commands.items()
}
#: The module that each command is in.
MODULES: Final = {name: module for module, commands in _BY_MODULE.items() for name in commands}
