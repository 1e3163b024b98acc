"""What a session description says of MSRP, and our own `m=message` line (RFC 4975 §8).

Besides RFC 4975: `a=setup` (RFC 6135, RFC 4145), `a=chatroom` (RFC 7701 §8), `a=msrp-cema`
(RFC 6714) and `a=fingerprint` (RFC 8122). Attributes of other standards, such as file transfer,
are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address

from attrs import frozen

from msrpconf.protocols.fingerprint import Fingerprint, read_fingerprints
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import Connection, MediaDescription, SdpError, SessionDescription
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import parse_host
from msrpconf.protocols.text import shown

TCP_MSRP = "TCP/MSRP"
TCP_TLS_MSRP = "TCP/TLS/MSRP"

#: The most URIs that a path may have; each frame to the peer carries them all.
MAX_PATH = 10
#: The most types that an accept-types or accept-wrapped-types may have.
MAX_TYPES = 256

_DIRECTIONS = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
_SETUPS = frozenset(("active", "passive", "actpass", "holdconn"))
# RFC 4975 §8.6: entries are separated by spaces, and a quoted parameter may have one inside.
_TYPE = re.compile(r'(?:[^\s"]|"(?:\\.|[^"\\])*"?)+')


@frozen
class MsrpMedia:
    """One MSRP line of a session description.

    - `index`: which of the description's media it is.
    - `protocol`: "TCP/MSRP" or "TCP/TLS/MSRP". `port`: that of the `m=` line.
    - `path`: the URIs of `a=path` as they were written; the last one is the peer's own.
    - `accept_types`, `accept_wrapped_types`: the types of the attributes in lower case, without
      parameters; "*" and "text/*" may be among them.
    - `max_size`: the longest message it takes, in octets; None if it does not say.
    - `setup`: "active", "passive", "actpass", "holdconn", None if it does not say.
    - `chatroom`: the tokens of `a=chatroom` in lower case, () for none, None if the attribute is
      absent: then the peer does not know RFC 7701.
    - `direction`: "sendrecv", "sendonly", "recvonly" or "inactive", as the peer says it.
    - `cema`: whether it knows RFC 6714: connect to `connection` then, not to the path.
    - `connection`: the `c=` that holds for the line, None if there is none. It may disagree with
      the path where a middlebox rewrote one of them.
    - `fingerprints`: those of a TLS line that the peer's certificate must match one of, all of
      one hash function; () if it gave none, and for lines without TLS.
    """

    index: int
    protocol: str
    port: int
    path: tuple[str, ...]
    accept_types: tuple[str, ...]
    accept_wrapped_types: tuple[str, ...] = ()
    max_size: int | None = None
    setup: str | None = None
    chatroom: tuple[str, ...] | None = None
    direction: str = "sendrecv"
    cema: bool = False
    connection: Connection | None = None
    fingerprints: tuple[Fingerprint, ...] = ()

    @property
    def secure(self) -> bool:
        """Whether the connection must be TLS."""
        return self.protocol == TCP_TLS_MSRP

    @property
    def relayed(self) -> bool:
        """Whether relays stand before the peer (RFC 4976)."""
        return len(self.path) > 1

    @property
    def destination(self) -> Destination:
        """Where to connect to, for one who does: the first URI of the path (RFC 4975 §5.4).

        For a peer that knows RFC 6714 it is the address of `c=` and `m=` (§4.3), which may be
        that of a middlebox; who must be there is still said by the path.
        """
        uri = MsrpURI.parse(self.path[0])
        name = uri.host.strip("[]")
        host, port = name, uri.connect_port
        if self.cema and self.connection is not None and _connectable(self.connection.address):
            host, port = self.connection.address, self.port
        # A relay presents a certificate of its own: fingerprints are the endpoint's (RFC 6135
        # §4.3).
        fingerprints = () if self.relayed else self.fingerprints
        return Destination(host, port, uri.secure, name, fingerprints)

    @property
    def answering_cema(self) -> bool:
        """Whether an answer, of one who uses no relay, says that it knows RFC 6714 (§4.3).

        Not to one who uses a relay and will connect by it.
        """
        return not self.relayed or self.setup in {"passive", "actpass"}

    @property
    def answering_setup(self) -> str:
        """The `a=setup` of an answerer that can be reached: "passive" unless the offerer is.

        The default of an offerer is active, and "holdconn" is as if it said nothing (RFC 6135
        §4.2.1).
        """
        return "active" if self.setup == "passive" else "passive"

    @property
    def answering_direction(self) -> str:
        """The widest direction that an answer to this one may have (RFC 3264 §6.1)."""
        return _DIRECTIONS[self.direction]

    def accepts(self, media_type: str) -> bool:
        """Whether a message may be of that type; in lower case, without parameters."""
        return _includes(self.accept_types, media_type)

    def accepts_wrapped(self, media_type: str) -> bool:
        """Whether that type may be inside of a container that it accepts, such as message/cpim.

        Those of accept-types may stand inside as well (RFC 4975 §8.6).
        """
        return _includes(self.accept_wrapped_types, media_type) or self.accepts(media_type)


def msrp_media(description: SessionDescription) -> tuple[MsrpMedia, ...]:
    """The MSRP lines of a description that are neither refused nor malformed, in order.

    Empty if there is no MSRP line. Raises SdpError, with the reason of the first, if there are
    some and none of them can be read.
    """
    media = []
    errors = []
    for index, line in enumerate(description.media):
        if line.port == 0 or line.media != "message" or _protocol(line) is None:
            continue
        try:
            media.append(read_msrp_media(description, index))
        except SdpError as error:
            errors.append(error)
    if errors and not media:
        raise errors[0]
    return tuple(media)


def read_msrp_media(description: SessionDescription, index: int) -> MsrpMedia:
    """Read the MSRP line at `index`. Raises SdpError if it is not one, or malformed."""
    line = description.media[index]
    where = shown(f"m={line.media} {line.port} {line.protocol}")
    protocol = _protocol(line)
    if line.media != "message" or protocol is None:
        raise SdpError(f"{where} is not MSRP; that is m=message with TCP/MSRP or TCP/TLS/MSRP")
    accept_types = line.attribute("accept-types")
    if accept_types is None:
        raise SdpError(f"{where} must have a=accept-types, RFC 4975 section 8.6")
    chatroom = line.attribute("chatroom")
    secure = protocol == TCP_TLS_MSRP
    return MsrpMedia(
        index,
        protocol,
        line.port,
        _path(line, where, secure),
        _types(accept_types, where),
        _types(line.attribute("accept-wrapped-types") or "", where),
        _max_size(line.attribute("max-size")),
        _setup(line, description),
        None if chatroom is None else tuple(chatroom.lower().split()),
        _direction(line, description),
        line.attribute("msrp-cema") is not None,
        description.connection_of(index),
        _fingerprints(line, description) if secure else (),
    )


def msrp_media_line(
    path: Iterable[MsrpURI],
    *,
    accept_types: Iterable[str],
    accept_wrapped_types: Iterable[str] = (),
    setup: str,
    max_size: int | None = None,
    chatroom: Iterable[str] | None = None,
    direction: str = "sendrecv",
    port: int | None = None,
    cema: bool = False,
    fingerprints: Iterable[Fingerprint] = (),
) -> MediaDescription:
    """Our own `m=message` line.

    The protocol and the port are those of the last URI of `path`, which is our own; another
    `port` is for one who will connect and not listen (RFC 6135 §4.2.2). `chatroom` are the tokens
    of RFC 7701 §8, None to leave the attribute out. `setup` is always said (RFC 6135 §4.2.1).
    `cema` says that we know RFC 6714, `fingerprints` are those of our certificate.
    """
    uris = tuple(path)
    own = uris[-1]
    attributes: list[tuple[str, str | None]] = [
        ("path", " ".join(map(str, uris))),
        ("accept-types", " ".join(accept_types)),
    ]
    wrapped = " ".join(accept_wrapped_types)
    if wrapped:
        attributes.append(("accept-wrapped-types", wrapped))
    if max_size is not None:
        attributes.append(("max-size", str(max_size)))
    attributes.append(("setup", setup))
    if chatroom is not None:
        attributes.append(("chatroom", " ".join(chatroom) or None))
    if direction != "sendrecv":
        attributes.append((direction, None))
    if cema:
        attributes.append(("msrp-cema", None))
    attributes += [("fingerprint", str(each)) for each in fingerprints]
    return MediaDescription(
        "message",
        own.connect_port if port is None else port,
        TCP_TLS_MSRP if own.secure else TCP_MSRP,
        ("*",),
        tuple(attributes),
    )


def _includes(types: Collection[str], media_type: str) -> bool:
    return media_type in types or "*" in types or f"{media_type.partition('/')[0]}/*" in types


def _protocol(line: MediaDescription) -> str | None:
    # Beyond ASCII there are letters whose upper case is one of these.
    protocol = line.protocol.upper() if line.protocol.isascii() else ""
    return protocol if protocol in {TCP_MSRP, TCP_TLS_MSRP} else None


def _path(line: MediaDescription, where: str, secure: bool) -> tuple[str, ...]:
    path = tuple((line.attribute("path") or "").split())
    if not path:
        raise SdpError(f"{where} must have a=path with an MSRP URI, RFC 4975 section 8.2")
    if len(path) > MAX_PATH:
        raise SdpError(f"{where} must not have more than {MAX_PATH} URIs in a=path")
    try:
        uris = [MsrpURI.parse(uri) for uri in path]
    except MsrpSyntaxError as error:
        raise SdpError(f"{where} has a wrong a=path: {error}") from None
    # Of the way behind a relay the scheme says nothing to us (RFC 4975 §4).
    if secure and not uris[0].secure:
        raise SdpError(f"{where} must have an msrps URI in a=path: {shown(path[0])}")
    return path


def _fingerprints(
    line: MediaDescription, description: SessionDescription
) -> tuple[Fingerprint, ...]:
    # Those of the session hold where the line has none (RFC 8122 §5).
    values = line.attributes_named("fingerprint") or description.attributes_named("fingerprint")
    return read_fingerprints(values)


def _connectable(address: str) -> bool:
    """Whether the address of a `c=` is that of a host: "0.0.0.0" was a way to say hold."""
    try:
        return not ip_address(address).is_unspecified
    except ValueError:
        pass
    try:
        parse_host(address)
    except SipSyntaxError:
        return False
    return True


def _types(value: str, where: str) -> tuple[str, ...]:
    """A list of types in lower case, without parameters and without repetitions."""
    types = _TYPE.findall(value)
    if len(types) > MAX_TYPES:
        raise SdpError(f"{where} must not list more than {MAX_TYPES} types in an attribute")
    return tuple(dict.fromkeys(entry.partition(";")[0].lower() for entry in types))


def _max_size(value: str | None) -> int | None:
    """A hint (RFC 4975 §8.6): what is not a number of a sensible length says nothing."""
    value = (value or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


def _setup(line: MediaDescription, description: SessionDescription) -> str | None:
    value = line.attribute("setup")
    if value is None:
        value = description.attribute("setup") or ""
    value = value.strip().lower()
    return value if value in _SETUPS else None


def _direction(line: MediaDescription, description: SessionDescription) -> str:
    for attributes in (line.attributes, description.attributes):
        for name, _ in attributes:
            if name in _DIRECTIONS:
                return name
    return "sendrecv"
