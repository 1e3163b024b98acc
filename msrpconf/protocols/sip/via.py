"""What a transport does to the top Via, and where a response goes by it.

RFC 3261 section 18, RFC 3581. Pure functions: no sockets.
"""

from __future__ import annotations

from msrpconf.protocols.sip.flow import (
    Address,
    Endpoint,
    bracket,
    default_port,
    is_numeric,
    unbracket,
)
from msrpconf.protocols.sip.grammar import (
    Parameters,
    canonical_host,
    get_parameter,
    has_parameter,
    set_parameter,
)
from msrpconf.protocols.sip.headers import Via
from msrpconf.protocols.sip.message import Request


def stamp(request: Request, source: Endpoint) -> None:
    """Notes in a request's top Via where it came from.

    `received` is set where sent-by is anything but the source address, and wherever rport is
    asked for, which is set to the source port (RFC 3261 section 18.2.1, RFC 3581 section 4).
    Values that the sender wrote there itself are not believed: they would send our responses
    to anyone it likes.
    """
    via = request.top_via
    host, port = source
    parameters = via.parameters
    rport = has_parameter(parameters, "rport")
    forged = has_parameter(parameters, "received")
    if not rport and not forged and _same_host(via.host, host):
        return
    if rport:
        parameters = set_parameter(parameters, "rport", str(port))
    parameters = set_parameter(parameters, "received", host)
    request.set_top_via(_with_parameters(via, parameters))


def _same_host(sent_by: str, host: str) -> bool:
    return sent_by == host or (
        sent_by.startswith("[") and canonical_host(sent_by) == canonical_host(bracket(host))
    )


def _with_parameters(via: Via, parameters: Parameters) -> Via:
    return Via(via.transport, via.host, via.port, parameters, via.protocol)


def fill(request: Request, transport: str, sent_by: Endpoint, *, alias: bool = False) -> None:
    """Makes the top Via say how the request leaves (RFC 3261 section 18.1.1, RFC 3581 section 3).

    `sent_by` is where we listen. The branch stays, and an empty rport is added; so is `alias`, if
    the peer may use the connection for requests to us (RFC 5923 section 8.1).
    """
    via = request.top_via
    parameters = via.parameters
    for name, wanted in (("rport", True), ("alias", alias)):
        if wanted and not has_parameter(parameters, name):
            parameters = (*parameters, (name, None))
    filled = Via(transport, bracket(sent_by[0]), sent_by[1], parameters, via.protocol)
    if filled != via:
        request.set_top_via(filled)


def datagram_target(via: Via) -> Endpoint:
    """Where a response goes over UDP, by its top Via (RFC 3261 section 18.2.2, RFC 3581).

    To `maddr` where that is an address; else to where the request came from, with the port of
    sent-by unless rport was asked for. The host is a name only if `stamp` has not seen the Via.
    """
    port = via.port or default_port("udp")
    maddr = unbracket(via.parameter("maddr") or "")
    if maddr and is_numeric(maddr):
        return maddr, port
    parameters = via.parameters
    received = get_parameter(parameters, "received")
    if received is None:
        return unbracket(via.host), port
    return unbracket(received), via.rport or port


def stream_target(via: Via, transport: str) -> Address:
    """Where to connect for a response whose connection is gone (RFC 3261 section 18.2.2).

    `transport` is "tcp" or "tls", as the request had it. By TLS, who is there must be the host of
    sent-by.
    """
    host = unbracket(via.received or via.host)
    domain = unbracket(via.host) if transport == "tls" else ""
    return Address(transport, host, via.port or default_port(transport), domain)


def alias_target(via: Via, source: Endpoint) -> Endpoint | None:
    """Where requests go that may take a TLS connection from `source` instead (RFC 5923 8.2).

    None where the sender of a request with this top Via does not offer that.
    """
    if not has_parameter(via.parameters, "alias"):
        return None
    return source[0], via.port or default_port("tls")
