"""The SIP of a user agent: its transactions, where it is reached, and how its requests go."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client.listening import Listening
from msrpconf.protocols.sip.answering import MAX_ROUNDS, Answering
from msrpconf.protocols.sip.dns import Dns, NameServers
from msrpconf.protocols.sip.flow import Address, Flow, bracket
from msrpconf.protocols.sip.locate import locate
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.outgoing import as_secure
from msrpconf.protocols.sip.pool import Tracer
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.protocols.sip.tls import SipTls
from msrpconf.protocols.sip.transaction import ServerTransaction, TransactionLayer
from msrpconf.protocols.sip.transport import TransportLayer
from msrpconf.protocols.sip.uri import URI, SipURI
from msrpconf.protocols.tls import Tls


class SipEnd:
    """What a user agent of `user`, a URI, has for SIP.

    `proxy` is where requests in no dialog go first, as `proxy_uri` reads it; `tls` has our
    certificate, if we have one, and the authorities of others; `dns` says which servers domains
    have, by the system's nameservers unless it is given. `answering` has the user's password.
    `on_request` serves what comes, `on_ack` an ACK for a 2xx, and `on_again` is told of a request
    that goes again with the password.
    """

    def __init__(
        self,
        reactor: Any,
        user: str,
        on_request: Callable[[ServerTransaction], None],
        on_ack: Callable[[Request, Flow], None],
        on_again: Callable[[Request], None],
        *,
        proxy: str | None = None,
        tls: Tls,
        dns: Dns | None = None,
        trace: Tracer | None = None,
        answering: Answering | None = None,
    ) -> None:
        self._reactor = reactor
        self._proxy = None if proxy is None else proxy_uri(proxy)
        self._dns: Dns = NameServers(reactor) if dns is None else dns
        self._answering = answering
        self._on_again = on_again
        self.transport = TransportLayer(reactor, trace=trace, tls=SipTls.of(tls))
        self.layer = TransactionLayer(reactor, self.transport, on_request=on_request, on_ack=on_ack)
        self.transport.on_message = self.layer.receive
        self.transport.on_flow_lost = self.layer.flow_lost
        self.ends = Listening(self.transport, user, certified=tls.credentials is not None)
        self._requests = RequestSender(reactor, self.layer, self._locate, self.transport.is_alive)

    def stop(self) -> Deferred[None]:
        """Forget all transactions, and close everything."""
        self.layer.stop()
        return self.transport.stop()

    def locate(self, uri: SipURI) -> Deferred[list[Address]]:
        """Where requests for `uri` go first: to the proxy, if there is one."""
        return locate(self._reactor, as_secure(self._proxy or uri, uri), dns=self._dns)

    def _locate(self, uri: URI) -> Deferred[list[Address]]:
        return locate(self._reactor, uri, usable=self.transport.can_reach, dns=self._dns)

    @inlineCallbacks
    def send(
        self, request: Request, flow: Flow | None, addresses: Sequence[Address] = ()
    ) -> Generator[Deferred[Any], Any, Response]:
        """Send a request, and answer who asks for a password; give the final response.

        It goes by `flow` while that is alive, else to `addresses`, else where its headers say.
        """
        answering = self._answering
        if answering is not None:
            answering.prepare(request)
        response: Response = yield self._requests.send(request, flow, addresses=addresses)
        for _ in range(MAX_ROUNDS):
            again = None if answering is None else answering.answer(request, response)
            if again is None:
                break
            self._on_again(again)
            request = again
            response = yield self._requests.send(request, flow, addresses=addresses)
        return response

    def send_ack(self, ack: Request, flow: Flow | None) -> None:
        """Acknowledge a 2xx; what cannot be sent will be asked for again."""
        sending = self._requests.send_ack(ack, None if "Route" in ack.headers else flow)
        sending.addErrback(lambda _: None)


def proxy_uri(proxy: str) -> SipURI:
    """The URI of a proxy that is written so, or as an address. Raises ValueError."""
    if proxy.lower().startswith(("sip:", "sips:")):
        return SipURI.parse(proxy)
    address = Address.parse(proxy)
    parameters = (("transport", address.transport),)
    return SipURI("sip", None, None, bracket(address.host), address.port, parameters)
