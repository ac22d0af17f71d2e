"""Who does something, where nobody says."""

from __future__ import annotations

import getpass
import os
import socket
from functools import cache


def default_actor() -> str:
    """Return `user@host pid N` of this process."""
    return f"{_user_at_host()} pid {os.getpid()}"


@cache
def _user_at_host() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # An account without a name, as in many containers.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:200]
