"""What a request of ours gets before it leaves, and where it goes first (RFC 3261 8.1.2, 16.6).

Whoever makes a request gives it the whole of its route set and the URI of who it is for. Only as
it leaves is it rewritten for a strict router of RFC 2543: rewritten earlier, nobody could tell
from it where it goes.
"""

from __future__ import annotations

from attrs import evolve

from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Headers, Request
from msrpconf.protocols.sip.uri import URI, SipURI

MAX_FORWARDS = 70
"""What a request without Max-Forwards gets (RFC 3261 section 8.1.1.6)."""


def is_sips(request: Request) -> bool:
    """Whether a request is for who is to be reached by TLS alone (section 26.2.2)."""
    return request.uri.scheme == "sips"


def next_hop(request: Request, proxy: URI | None = None) -> URI:
    """The URI whose address a request goes to (section 8.1.2).

    That of the `proxy`, if there is one, else the first Route, else its own; as a sips URI, if
    its own is one.
    """
    routes = request.routes
    return as_secure(proxy or (routes[0].uri if routes else request.uri), request.uri)


def as_secure(hop: URI, uri: URI) -> URI:
    """The URI of a hop on the way to `uri`: as a sips URI, if that is one."""
    if uri.scheme == "sips" and isinstance(hop, SipURI) and hop.scheme != "sips":
        return evolve(hop.without_parameters("transport"), scheme="sips")
    return hop


def may_take(request: Request, flow: Flow) -> bool:
    """Whether a request may go by `flow`: one for a sips URI goes by TLS alone."""
    return flow.transport == "tls" or not is_sips(request)


def outgoing(request: Request, target: Address, branch: str) -> Request:
    """A copy with what its hop wants: Via, Max-Forwards, and the form that a strict router reads.

    Such a router, whose URI is the first Route and has no `lr`, gets the request under its own
    URI, and the one that it is for as the last Route (sections 12.2.1.1 and 16.6, step 6).
    """
    headers = request.headers.copy()
    # The host is the transport's to fill in: it alone knows which address this will leave from.
    headers.prepend("Via", f"SIP/2.0/{target.transport.upper()} unsent.invalid;branch={branch}")
    if "Max-Forwards" not in headers:
        headers.add("Max-Forwards", str(MAX_FORWARDS))
    uri = request.uri
    if "Route" in headers:
        first = next_hop(request)
        if isinstance(first, SipURI) and not first.has_parameter("lr"):
            _reroute(headers, (*request.raw_routes[1:], f"<{uri}>"))
            uri = for_request_line(first)
    return Request(request.method, uri, headers, request.body)


def _reroute(headers: Headers, routes: tuple[str, ...]) -> None:
    headers.remove("Route")
    for route in routes:
        headers.add("Route", route)


def for_request_line(uri: URI) -> URI:
    """`uri` without what a Request-URI must not have (section 19.1.1, table 1)."""
    if not isinstance(uri, SipURI) or not (uri.headers or uri.has_parameter("method")):
        return uri
    return evolve(uri.without_parameters("method"), headers=())
