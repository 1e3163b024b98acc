"""What the focus asks of a request before anybody looks at its room (RFC 3261 §8.2).

A check that fails gives a `Denied`: the status, a reason that the sender can act
on, and the headers that say what would have been right.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network

from attrs import frozen

from msrpconf.conference.decision import Denied
from msrpconf.conference.room import ROOM_DOMAIN
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import parse_host
from msrpconf.protocols.sip.headers import split_list
from msrpconf.protocols.sip.message import METHODS as REGISTERED_METHODS
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.protocols.text import shown

METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "REFER", "NOTIFY")
"""What the focus serves."""

PRESENCE_METHODS = ("SUBSCRIBE", "PUBLISH")
"""What a presence agent beside it serves."""

_LIST_INVITE = "recipient-list-invite"

OPTION_TAGS = (_LIST_INVITE, "multiple-refer", "norefersub", "tdialog", "timer")
"""The extensions that we understand: RFC 5366, RFC 5368, RFC 4488, RFC 4538, RFC 4028."""

SUPPORTED = ("Supported", ", ".join(OPTION_TAGS))

_BODIES = (
    "application/sdp",
    "multipart/mixed",
    "multipart/alternative",
    "multipart/related",  # RFC 5547 §8.8: a file's description with its icon
    "application/resource-lists+xml",  # RFC 5366: people to invite
    "message/sipfrag",  # RFC 3515: what became of them, in a NOTIFY
)

ACCEPT = ("Accept", ", ".join(_BODIES))
ACCEPT_ENCODING = ("Accept-Encoding", "identity")
ACCEPT_LANGUAGE = ("Accept-Language", "en")

MAX_ROOM = 255
"""Characters that the name of a room may have: rooms are kept, and named in every log line."""


@frozen
class FocusSettings:
    """What an operator decides about the focus.

    `domains` are the conference domains that are served, ``*`` for any; `trusted`
    the networks of the proxies whose requests are taken, `trusted_names` the SIP domains
    of those that come by TLS, in lower case; `require` the extensions
    that every INVITE must support; `contact` is ``auto``, ``conference`` or
    ``address`` (see `Focus`); `outbound_proxy` is where requests go that begin
    something; `presence` is the agent that the state of rooms is PUBLISHed to; `events` are
    the event packages of the one beside the focus, none without that; `publish` says whether what
    users PUBLISH of rooms goes to their servers.
    """

    domains: tuple[str, ...] = ("*",)
    trusted: tuple[IPv4Network | IPv6Network, ...] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    require: tuple[str, ...] = ()
    contact: str = "auto"
    outbound_proxy: SipURI | None = None
    presence: SipURI | None = None
    events: tuple[str, ...] = ()
    trusted_names: frozenset[str] = frozenset()
    publish: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """What is served here."""
        if self.events:
            return (*METHODS, *PRESENCE_METHODS)
        return (*METHODS, "PUBLISH") if self.publish else METHODS

    @property
    def allow(self) -> tuple[str, str]:
        """The header field that says so."""
        return "Allow", ", ".join(self.methods)

    @property
    def allow_events(self) -> tuple[str, str]:
        """The header field that names the event packages (RFC 6665 §8.2.2)."""
        return "Allow-Events", ", ".join((*self.events, "refer"))


def check_source(
    host: str, settings: FocusSettings, identities: frozenset[str] = frozenset()
) -> Denied | None:
    """Whether requests from `host` are taken at all: never an open relay.

    `identities` are the SIP domains that who is there has proved to be by TLS.
    """
    if identities & settings.trusted_names:
        return None
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == each.version and address in each for each in settings.trusted):
        return None
    if identities:
        names = ", ".join(shown(each) for each in sorted(identities)[:3])
        host = f"{host}, whose certificate is for {names},"
    return Denied(403, f"Requests from {host} are not taken here: come through the proxy")


def check_method(request: Request, settings: FocusSettings) -> Denied | None:
    """405 for what we know and do not serve, 501 for what nobody has heard of (§8.2.1)."""
    if request.method in settings.methods:
        return None
    if request.method in REGISTERED_METHODS:
        return Denied(405, f"{request.method} is not served by this focus", (settings.allow,))
    return Denied(501, f"The method {request.method[:40]} is not known here", (settings.allow,))


def check_beginning(request: Request) -> Denied | None:
    """Whether a request without a To tag may be that: it is in no dialog, and may begin one."""
    if request.method in {"BYE", "UPDATE", "NOTIFY"}:
        return Denied(481, f"{request.method} outside a dialog: its To needs our tag")
    if request.method == "INVITE":
        for name in ("Replaces", "Join"):
            if name in request.headers:
                return Denied(481, f"{name} is not served here: join the room by its address")
    try:
        request.name_addrs("P-Asserted-Identity")
    except SipSyntaxError as error:
        # Who somebody is must not be guessed, nor taken from From instead.
        return Denied(400, error.reason)
    return None


def check_extensions(request: Request, settings: FocusSettings) -> Denied | None:
    """420 for what is required of us in vain, 421 for what we require (§8.2.2.3, §8.2.4)."""
    try:
        required = request.option_tags("Require")
        offered = {each.lower() for each in (*required, *request.option_tags("Supported"))}
    except SipSyntaxError as error:
        return Denied(400, error.reason)
    supported = set(OPTION_TAGS)
    if request.method == "INVITE" and request.to.tag is not None:
        supported.discard(_LIST_INVITE)  # RFC 5366 §5.1
    unknown = [each for each in required if each.lower() not in supported]
    if unknown:
        names = ", ".join(unknown)
        return Denied(420, f"Not supported here: {names[:100]}", (("Unsupported", names),))
    if request.method == "INVITE":
        missing = [each for each in settings.require if each.lower() not in offered]
        if missing:
            names = ", ".join(missing)
            return Denied(421, f"This focus requires: {names}", (("Require", names),))
    return None


def check_contact(request: Request) -> Denied | None:
    """Whether we know where to send what comes after (§8.1.1.8, §12.1.1, §12.2.2)."""
    if request.method not in {"INVITE", "UPDATE"}:
        return None
    contacts = request.contacts
    if not contacts and request.to.tag is not None:
        return None  # the target stays as it is
    if len(contacts) == 1 and isinstance(contacts[0].uri, SipURI):
        return None
    return Denied(400, f"{request.method} needs one Contact with a sip URI, to be reached at")


def check_body(request: Request) -> Denied | None:
    """415 for a body that nobody here reads, unless it need not be read (§8.2.3, §20.11)."""
    denied = unreadable(request)
    if denied is None:
        return None
    try:
        disposition = request.content_disposition
    except SipSyntaxError as error:
        return Denied(400, error.reason)
    handling = None if disposition is None else disposition.parameter("handling")
    return None if handling is not None and handling.lower() == "optional" else denied


def unreadable(request: Request) -> Denied | None:
    """Why the body of a request cannot be read here. Those of BYE and OPTIONS nobody looks at."""
    if not request.body or request.method not in {"INVITE", "UPDATE", "REFER", "NOTIFY"}:
        return None
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.lower() not in {"", "identity"}:
        why = f"Content-Encoding {shown(encoding, 40)} is not read here: send it plain"
        return Denied(415, why, (ACCEPT_ENCODING,))
    content_type = request.content_type
    if content_type is None:
        return Denied(400, "The body has no Content-Type: say application/sdp")
    readable = _BODIES if request.method in {"REFER", "NOTIFY"} else _BODIES[:-1]
    if content_type.essence in readable:
        return None
    why = f"{content_type.essence[:60]} is not read here: send application/sdp"
    return Denied(415, why, (ACCEPT,))


def takes_sdp(request: Request) -> bool:
    """Whether the sender of OPTIONS takes a session description (§11.2, §20.1)."""
    if "Accept" not in request.headers:
        return True
    try:
        ranges = {
            each.partition(";")[0].strip().lower()
            for value in request.headers.get_all("Accept")
            for each in split_list(value)
        }
    except SipSyntaxError:
        return True
    return not ranges.isdisjoint({"application/sdp", "application/*", "*/*"})


def conference_uri(request: Request, settings: FocusSettings) -> SipURI | Denied:
    """The room that a request is for, in the form that it is known by (§8.2.2.1)."""
    uri = request.uri
    if not isinstance(uri, SipURI):
        return Denied(416, f"A room's address is a sip URI: {uri.scheme[:20]} is not understood")
    try:
        domain = parse_host(uri.parameter(ROOM_DOMAIN) or uri.host)
    except SipSyntaxError as error:
        return Denied(400, f"{ROOM_DOMAIN} of the request's URI: {error.reason}")
    if "*" not in settings.domains and domain not in settings.domains:
        if request.max_forwards == 0:
            return Denied(483, f"{domain} is not served here, and Max-Forwards is used up")
        return Denied(404, f"{domain} is not a conference domain of this focus")
    if not uri.user:
        return Denied(404, "A room's address has a name before the @: sip:room@domain")
    if len(uri.user) > MAX_ROOM:
        return Denied(414, f"The name of a room has at most {MAX_ROOM} characters")
    return SipURI("sip", uri.user, None, domain)
