"""The bounds of what clients can make the service do."""

from __future__ import annotations

from typing import Final

#: The largest body of a request, in bytes: a thousand manifests of ordinary size. `import` has
#: none, since it is read line by line.
MOST_BODY: Final = 32 * 2**20
#: The largest head of a request, in bytes.
MOST_HEAD: Final = 32 * 2**10
#: How long a client may take for the head of a request, and for each piece of its body.
HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 20.0
#: How long a connection is kept for the next request.
IDLE_SECONDS: Final = 30
#: How long requests may take to end when the service is to end.
LEAVING_SECONDS: Final = 10
#: The connections of one worker, and those of them that follow the history.
MOST_CONNECTIONS: Final = 2_000
MOST_WATCHES: Final = 1_000
#: How long the registry of a namespace is held open, with its connections, when nobody asks:
#: longer than any request may take.
FORGOTTEN_SECONDS: Final = 600.0
#: How often that is looked at.
TIDY_SECONDS: Final = 10.0
#: How often those who follow hear that they are still connected.
HEARTBEAT_SECONDS: Final = 15.0
#: The most errors that an answer lists, and how much of each place in the request.
MOST_TOLD: Final = 20
LONGEST_TOLD: Final = 200
#: The most items of a page, and of a request for many.
MOST_ITEMS: Final = 1_000
#: The most that is imported in one request, in bytes.
MOST_IMPORTED: Final = 4 * 2**30
#: With less room on its disk, a file's service is not ready, in bytes.
LEAST_FREE: Final = 16 * 2**20
