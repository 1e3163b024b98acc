"""What a session description says of MSRP, and our own `m=message` line (RFC 4975 §8).

Besides RFC 4975: `a=setup` (RFC 6135, RFC 4145), `a=chatroom` (RFC 7701 §8) and `a=msrp-cema`
(RFC 6714). Attributes of other standards, such as file transfer, are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from attrs import frozen

from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import Connection, MediaDescription, SdpError, SessionDescription
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

    @property
    def secure(self) -> bool:
        """Whether the connection must be TLS."""
        return self.protocol == TCP_TLS_MSRP

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
    return MsrpMedia(
        index,
        protocol,
        line.port,
        _path(line, where),
        _types(accept_types, where),
        _types(line.attribute("accept-wrapped-types") or "", where),
        _max_size(line.attribute("max-size")),
        _setup(line, description),
        None if chatroom is None else tuple(chatroom.lower().split()),
        _direction(line, description),
        line.attribute("msrp-cema") is not None,
        description.connection_of(index),
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
) -> MediaDescription:
    """Our own `m=message` line.

    The protocol and the port are those of the last URI of `path`, which is our own; another
    `port` is for one who will connect and not listen (RFC 6135 §4.2.2). `chatroom` are the tokens
    of RFC 7701 §8, None to leave the attribute out. `setup` is always said (RFC 6135 §4.2.1).
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


def _path(line: MediaDescription, where: str) -> tuple[str, ...]:
    path = tuple((line.attribute("path") or "").split())
    if not path:
        raise SdpError(f"{where} must have a=path with an MSRP URI, RFC 4975 section 8.2")
    if len(path) > MAX_PATH:
        raise SdpError(f"{where} must not have more than {MAX_PATH} URIs in a=path")
    for uri in path:
        try:
            MsrpURI.parse(uri)
        except MsrpSyntaxError as error:
            raise SdpError(f"{where} has a wrong a=path: {error}") from None
    return path


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
