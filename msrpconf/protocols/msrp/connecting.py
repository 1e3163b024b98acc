"""Making MSRP connections: TCP, then TLS where it must be (RFC 4975 §5.4, RFC 6135 §4)."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.python.failure import Failure

from msrpconf.protocols.connect_errors import why_not_connected
from msrpconf.protocols.msrp.connection import MsrpConnection, MsrpFactory
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.tls import Tls, TlsError, why_no_tls

CONNECT_TIMEOUT = 10.0
"""Seconds that a peer may take to accept a connection, and as many for TLS."""


class MsrpConnectError(Exception):
    """There is no connection, for people: why.

    `untrusted`: the peer is there, and it is not the one that it should be, or has no TLS with us.
    """

    def __init__(self, why: str, untrusted: bool = False) -> None:
        super().__init__(why)
        self.untrusted = untrusted


class MsrpConnector:
    """Makes connections of `factory`'s; `tls` for those that need it."""

    def __init__(self, reactor: Any, factory: MsrpFactory, tls: Tls | None = None) -> None:
        self._reactor = reactor
        self._factory = factory
        self._tls = tls

    def connect(self, destination: Destination) -> Deferred[MsrpConnection]:
        """Connect; done when the peer has shown who it is.

        Fails with `MsrpConnectError`. Cancelling it gives up.
        """
        connecting: Deferred[Any] = maybeDeferred(self._endpoint, destination)
        connecting.addCallback(lambda endpoint: endpoint.connect(self._factory))
        connecting.addCallback(self._secured)
        return connecting.addErrback(_explain, destination)

    def _endpoint(self, destination: Destination) -> IStreamClientEndpoint:
        endpoint = HostnameEndpoint(
            self._reactor, destination.host, destination.port, timeout=CONNECT_TIMEOUT
        )
        if not destination.secure:
            return endpoint
        if self._tls is None:
            raise MsrpConnectError("it needs TLS, of which there is none here", untrusted=True)
        creator = self._tls.client(destination.server_name, destination.fingerprints)
        return wrapClientTLS(creator, endpoint)

    def _secured(self, connection: IProtocol) -> MsrpConnection | Deferred[MsrpConnection]:
        """Wait for TLS; a connection without is there already."""
        assert isinstance(connection, MsrpConnection)
        if not connection.secure:
            return connection
        secured: Deferred[MsrpConnection] = Deferred(lambda _: connection.abort())

        def ready(reason: Failure | None) -> None:
            if secured.called:
                return
            if reason is None:
                secured.callback(connection)
            else:
                secured.errback(reason)

        connection.on_ready = ready
        return secured.addTimeout(CONNECT_TIMEOUT, self._reactor)


def _explain(failure: Failure, destination: Destination) -> Failure:
    error = failure.value
    if isinstance(error, MsrpConnectError):
        return failure
    if isinstance(error, TlsError):
        return Failure(MsrpConnectError(f"no TLS: {error}", untrusted=True))
    if not isinstance(error, SSL.Error | VerificationError):
        return Failure(MsrpConnectError(why_not_connected(failure)))
    why = why_no_tls(error)
    if "certificate verify failed" in why:
        if destination.fingerprints:
            why = "its certificate does not match a=fingerprint"
        else:
            why = "its certificate is not signed by an authority that is trusted here"
    return Failure(MsrpConnectError(f"no TLS: {why}", untrusted=True))
