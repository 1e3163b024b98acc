"""The next address where one does not serve (RFC 3263 section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime

from msrpconf.protocols.sip.client_transaction import ClientTransaction
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.memory import ShortMemory
from msrpconf.protocols.sip.message import Request, Response

PATIENCE = 6.0
"""Seconds for any response, where there are other addresses. Over UDP it was sent four times."""

AVOID_TIME = 30.0
"""Seconds for which an address that did not serve is tried last."""


@frozen
class Outcome:
    """What a request came to at one address: the final response, and whether it was served there.

    It was not, if it could not be sent, nobody answered, or the answer was 503.
    """

    response: Response
    served: bool

    @classmethod
    def of(cls, transaction: ClientTransaction, response: Response, request: Request) -> Outcome:
        """That of a transaction whose final response is `response`, ours or another's."""
        if transaction.error is not None:
            return cls(request.response(response.status, str(transaction.error)), False)
        return cls(response, response.status != 503)


class Failover:
    """Tries addresses until one serves. Those that did not lately come last."""

    def __init__(self, clock: IReactorTime) -> None:
        self._avoided: ShortMemory[Address, bool] = ShortMemory(clock, AVOID_TIME)

    def order(self, addresses: Sequence[Address]) -> list[Address]:
        """The order to try them in."""
        return sorted(addresses, key=lambda address: self._avoided.get(address) is not None)

    def avoid(self, address: Address) -> None:
        """Try `address` last for a while: it did not serve."""
        self._avoided.put(address, True)

    @inlineCallbacks
    def send(
        self,
        addresses: Sequence[Address],
        attempt: Callable[[Address, float | None], Deferred[Outcome]],
        nowhere: Response,
    ) -> Generator[Deferred[Any], Any, Response]:
        """The final response of the first that serves, else of the last; `nowhere` without any.

        `attempt` sends the request, in a transaction of its own, to an address. Its second
        argument is the seconds that any response may take, None for as long as it takes.
        """
        response = nowhere
        ordered = self.order(addresses)
        for address in ordered:
            patience = None if address is ordered[-1] else PATIENCE
            outcome: Outcome = yield attempt(address, patience)
            response = outcome.response
            if outcome.served:
                break
            self.avoid(address)
        return response
