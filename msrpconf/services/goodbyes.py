"""BYEs in the name of servers that are gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.bye import FLOW
from msrpconf.dispatch.records import DialogRecord
from msrpconf.protocols.channel import Handler
from msrpconf.protocols.sip.headers import Reason
from msrpconf.services.claims import RoomClaims
from msrpconf.services.link_server import MARK
from msrpconf.visible import visible

AT_ONCE = 100
"""BYEs that are under way at one time."""

FAILED = Reason("SIP", 503, "The conference server has failed: join again")


class Goodbyes:
    """Has the focus tell the clients of a server that it is gone.

    A call is ended by the dispatcher that it came by, which is `name` here; where several share
    `claims`, by the others too if that one is gone as well, or has begun anew and forgotten it.
    """

    log = Logger()

    def __init__(self, clock: Any, name: str, to_focus: Handler) -> None:
        self.claims: RoomClaims | None = None
        self._clock = clock
        self._name = name
        self._to_focus = to_focus
        self._sending = DeferredSemaphore(AT_ONCE)
        self._later: set[IDelayedCall] = set()

    def stop(self) -> None:
        """Look after nobody else's any more."""
        for call in self._later:
            call.cancel()
        self._later.clear()

    def say(self, lost: Iterable[DialogRecord]) -> None:
        """End these calls, so many at a time."""
        others = [each for each in lost if not self._said(each)]
        if not others or self.claims is None:
            return
        # It may have died in the same moment, which is not known yet.
        call = self._clock.callLater(self.claims.patience, self._look_again, others)
        self._later.add(call)

    def _look_again(self, others: list[DialogRecord]) -> None:
        self._later = {each for each in self._later if each.active()}
        for record in others:
            self._said(record)

    def _said(self, record: DialogRecord) -> bool:
        """Send a BYE, if that is ours to do."""
        name, _, flow = record.way.partition(MARK)
        ours = name == self._name
        if not ours and not self._knows_nothing(name):
            return False
        bye = record.goodbye(FAILED)
        if flow and ours:
            bye.headers.set(FLOW, flow)
        self._sending.run(self._to_focus, bye).addErrback(self._failed, record)
        return True

    def _knows_nothing(self, name: str) -> bool:
        """Whether another dispatcher is gone, or was when the server was lost.

        Where it knows of the call all the same, its client has two BYEs, and answers one with 481.
        """
        claims = self.claims
        return claims is not None and (
            claims.dispatcher_gone(name) or claims.has_forgotten(name, 3 * claims.patience)
        )

    def _failed(self, failure: Failure, record: DialogRecord) -> None:
        self.log.warn(
            "BYE for a server that is gone could not be sent: {error} (Call-ID {call_id})",
            error=visible(failure.getErrorMessage()),
            call_id=visible(record.call_id),
        )
