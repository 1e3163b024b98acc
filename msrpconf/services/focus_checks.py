"""What the focus asks of a request before anybody looks at its room (RFC 3261 §8.2).

A check that fails gives a `Denied`: the status, a reason that the sender can act
on, and the headers that say what would have been right.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network

from attrs import frozen

from msrpconf.conference.decision import Denied
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.uri import SipURI

METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE")
"""What the focus serves."""

ALLOW = ("Allow", ", ".join(METHODS))

KNOWN_METHODS = frozenset(
    ("INFO", "MESSAGE", "NOTIFY", "PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE")
)
"""What is understood to be a method, and not served: 405. Anything else is 501."""

SUPPORTED: frozenset[str] = frozenset()
"""Option tags that a request may Require of us."""

ACCEPT = ("Accept", "application/sdp, multipart/mixed, multipart/alternative")
ACCEPT_ENCODING = ("Accept-Encoding", "identity")
ACCEPT_LANGUAGE = ("Accept-Language", "en")

ROOM_DOMAIN = "room-domain"
"""A parameter of our Contact: the domain of the room, where the address is not in it."""


@frozen
class FocusSettings:
    """What an operator decides about the focus.

    `domains` are the conference domains that are served, ``*`` for any; `trusted`
    the networks of the proxies whose requests are taken; `require` the extensions
    that every INVITE must support; `contact` is ``auto``, ``conference`` or
    ``address`` (see `Focus`).
    """

    domains: tuple[str, ...] = ("*",)
    trusted: tuple[IPv4Network | IPv6Network, ...] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    require: tuple[str, ...] = ()
    contact: str = "auto"


def check_source(host: str, settings: FocusSettings) -> Denied | None:
    """Whether requests from `host` are taken at all: never an open relay."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == each.version and address in each for each in settings.trusted):
        return None
    return Denied(403, f"Requests from {host} are not taken here: come through the proxy")


def check_method(request: Request) -> Denied | None:
    """405 for what we know and do not serve, 501 for what nobody has heard of (§8.2.1)."""
    if request.method in METHODS:
        return None
    if request.method in KNOWN_METHODS:
        return Denied(405, f"{request.method} is not served by this focus", (ALLOW,))
    return Denied(501, f"The method {request.method[:40]} is not known here", (ALLOW,))


def check_extensions(request: Request, settings: FocusSettings) -> Denied | None:
    """420 for what is required of us in vain, 421 for what we require (§8.2.2.3, §21.4.16)."""
    try:
        required = request.option_tags("Require")
        offered = {*required, *request.option_tags("Supported")}
    except SipSyntaxError as error:
        return Denied(400, str(error))
    unknown = [each for each in required if each not in SUPPORTED]
    if unknown and request.method not in {"ACK", "CANCEL"}:
        names = ", ".join(unknown)
        return Denied(420, f"Not supported here: {names}", (("Unsupported", names),))
    if request.method == "INVITE":
        missing = [each for each in settings.require if each not in offered]
        if missing:
            names = ", ".join(missing)
            return Denied(421, f"This focus requires: {names}", (("Require", names),))
    return None


def check_body(request: Request) -> Denied | None:
    """415 for a body that nobody here reads (§8.2.3)."""
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in {"", "identity"}:
        return Denied(415, f"Content-Encoding {encoding[:40]} is not read here", (ACCEPT_ENCODING,))
    if not request.body or request.method not in {"INVITE", "UPDATE"}:
        return None
    content_type = request.content_type
    if content_type is None:
        return Denied(400, "The body has no Content-Type: say application/sdp")
    if content_type.essence in {"application/sdp", "multipart/mixed", "multipart/alternative"}:
        return None
    # RFC 3261 §20.11: who does not insist on its body being read is served without it.
    disposition = request.content_disposition
    if disposition is not None and disposition.parameter("handling") == "optional":
        return None
    return Denied(415, f"{content_type.essence[:60]} is not read here", (ACCEPT,))


def conference_uri(request: Request, settings: FocusSettings) -> SipURI | Denied:
    """The room that a request outside a dialog is for, in the form that it is known by."""
    uri = request.uri
    if not isinstance(uri, SipURI):
        return Denied(416, f"A room's address is a sip URI: {uri.scheme[:20]} is not understood")
    domain = uri.parameter(ROOM_DOMAIN) or uri.host
    if "*" not in settings.domains and domain.lower() not in settings.domains:
        if request.max_forwards == 0:
            return Denied(483, f"{domain} is not served here, and Max-Forwards is used up")
        return Denied(404, f"{domain} is not a conference domain of this focus")
    if not uri.user:
        return Denied(404, "A room's address has a name before the @: sip:room@domain")
    try:
        return SipURI.parse(str(SipURI("sip", uri.user, None, domain.lower(), None)))
    except SipSyntaxError as error:
        return Denied(400, f"{ROOM_DOMAIN} of the request's URI: {error}")
