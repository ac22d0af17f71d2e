"""What `schemathesis` does not know: lines of JSON."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """Return *value* as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
