"""HTTP as the server speaks it, with a bound on how long a client takes to say what it wants."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from capsule_registry.service.limits import HEAD_SECONDS, MOST_CONNECTIONS

#: What `capsule_registry.service.app` keeps for the protocol, under this name.
FOLLOWERS: Final = "followers"


class PatientProtocol(H11Protocol):
    """Closes connections whose next request does not come in time, and ends streams politely."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's own
        """Begin to wait for the first request, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Wait on while the head of a request is not whole."""
        super().data_received(data)
        if not (self.conn.their_state is h11.IDLE or self._is_answered_early):
            self._wait_no_more()
        elif self._deadline is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait no longer for the rest of a body than for a head, once that is answered."""
        super().on_response_complete()
        if self._is_answered_early and self._deadline is None:
            self._wait_for_head()

    @property
    def _is_answered_early(self) -> bool:
        """Whether the answer was sent before the body had come."""
        is_answered = self.cycle is not None and self.cycle.response_complete
        return is_answered and self.conn.their_state is h11.SEND_BODY

    def shutdown(self) -> None:
        """End the connection after its response, and streams now."""
        if (followers := self.app_state.get(FOLLOWERS)) is not None:
            followers.leave()
        super().shutdown()

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
