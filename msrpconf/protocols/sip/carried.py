"""Which client transactions a connection carries: they fail with it (RFC 3261 section 17.1.4)."""

from __future__ import annotations

from msrpconf.protocols.sip.client_transaction import ClientTransaction
from msrpconf.protocols.sip.flow import Flow


class Carried:
    """The client transactions whose request went by a connection, until they end."""

    def __init__(self) -> None:
        self._by_flow: dict[Flow, set[ClientTransaction]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_flow.values()))

    def add(self, transaction: ClientTransaction) -> None:
        """The request of `transaction` has gone, by its flow."""
        flow = transaction.flow
        if flow is not None and flow.reliable:
            self._by_flow.setdefault(flow, set()).add(transaction)

    def discard(self, transaction: ClientTransaction) -> None:
        """It has ended."""
        flow = transaction.flow
        if flow is None or (those := self._by_flow.get(flow)) is None:
            return
        those.discard(transaction)
        if not those:
            del self._by_flow[flow]

    def take(self, flow: Flow) -> set[ClientTransaction]:
        """Those of a connection that is gone."""
        return self._by_flow.pop(flow, set())

    def clear(self) -> None:
        """Forget them all."""
        self._by_flow.clear()
