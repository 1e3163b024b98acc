"""Session descriptions (SDP, RFC 8866) and the offer/answer model (RFC 3264).

`SessionDescription.parse` and `bytes()` are inverse for every well-formed description, also one
with lines and attributes that we know nothing of. What MSRP makes of a description is in
`sdp_msrp`.

Read, though it is not well-formed: lines that end in a bare LF, an empty or missing `s=`, a
missing `t=`, lines in another order than the standard's, type letters unknown to it. Text that is
not UTF-8 is kept by surrogate escapes, as SDP's text is octets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from msrpconf.protocols.text import shown

__all__ = [
    "MAX_MEDIA",
    "MAX_SDP",
    "Connection",
    "MediaDescription",
    "Origin",
    "SdpError",
    "SessionDescription",
]

#: The longest description that is read, in octets.
MAX_SDP = 65536
#: The most media descriptions that are read in one session description.
MAX_MEDIA = 64

_NO_TIME = (("t", "0 0"),)
# Attributes that a refused line keeps (RFC 5547 §8.3).
_KEPT = frozenset(("file-selector", "file-transfer-id"))


class SdpError(ValueError):
    """A session description that cannot be read, or that says what cannot be accepted.

    The text says what was wrong, in which line, and what would be right. In an INVITE it becomes
    a 488, or a 400.
    """


@frozen
class Origin:
    """The `o=` line: who made the description, and which version it is (RFC 8866 §5.2).

    `session_id` and `session_version` are decimal numbers, as text since they have no bound.
    """

    username: str
    session_id: str
    session_version: str
    network_type: str
    address_type: str
    address: str

    @classmethod
    def parse(cls, value: str) -> Origin:
        """Read the value of an `o=` line. Raises SdpError."""
        fields = _fields(value)
        if len(fields) != 6:
            raise SdpError(
                f"o= must have six fields, 'user session version IN IP4 address': {shown(value)}"
            )
        return cls(*fields)

    @classmethod
    def of(cls, address: str, session_id: int, version: int, username: str = "-") -> Origin:
        """The origin at an IP address or a host name; an IPv6 address may be in brackets."""
        address = address.strip("[]")
        address_type = "IP6" if ":" in address else "IP4"
        return cls(username, str(session_id), str(version), "IN", address_type, address)

    def __str__(self) -> str:
        return (
            f"{self.username} {self.session_id} {self.session_version} "
            f"{self.network_type} {self.address_type} {self.address}"
        )

    @property
    def connection(self) -> Connection:
        """The same address as connection information."""
        return Connection(self.network_type, self.address_type, self.address)


@frozen
class Connection:
    """A `c=` line: the address of the media (RFC 8866 §5.7)."""

    network_type: str
    address_type: str
    address: str

    @classmethod
    def parse(cls, value: str) -> Connection:
        """Read the value of a `c=` line. Raises SdpError."""
        fields = _fields(value)
        if len(fields) != 3:
            raise SdpError(f"c= must have three fields, 'IN IP4 address': {shown(value)}")
        return cls(*fields)

    def __str__(self) -> str:
        return f"{self.network_type} {self.address_type} {self.address}"


class _Attributed:
    """What a session and a media description have in common: attributes (RFC 8866 §5.13)."""

    __slots__ = ()

    attributes: tuple[tuple[str, str | None], ...]

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute of that name.

        "" for one without a value, such as `a=sendonly`; None if there is none.
        """
        for known, value in self.attributes:
            if known == name:
                return value or ""
        return None

    def attributes_named(self, name: str) -> list[str]:
        """The values of all attributes of that name, "" for those without."""
        return [value or "" for known, value in self.attributes if known == name]


@frozen
class MediaDescription(_Attributed):
    """An `m=` line and the lines that belong to it (RFC 8866 §5.14).

    - `media`: "message", "audio", …
    - `port`: 0 if the stream is refused or ended (RFC 3264 §6, §8.2).
    - `protocol`: "TCP/MSRP", "RTP/AVP", …
    - `formats`: at least one; MSRP's is "*".
    - `attributes`: (name, value or None) in order.
    - `connection`: its own `c=`, None if the session's is meant.
    - `port_count`: the number after the port, None if there is none.
    - `other`: (letter, value) of all other lines.
    """

    media: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: tuple[tuple[str, str | None], ...] = ()
    connection: Connection | None = None
    port_count: int | None = None
    other: tuple[tuple[str, str], ...] = ()

    def refused(self) -> MediaDescription:
        """The line that refuses this one in an answer (RFC 3264 §6).

        That of a file still says which one it is (RFC 5547 §8.3).
        """
        kept = tuple(each for each in self.attributes if each[0] in _KEPT)
        return MediaDescription(self.media, 0, self.protocol, self.formats, kept)

    def lines(self) -> Iterator[tuple[str, str]]:
        """(letter, value) of all its lines, in the order of the standard."""
        count = "" if self.port_count is None else f"/{self.port_count}"
        formats = " ".join(self.formats)
        yield "m", f"{self.media} {self.port}{count} {self.protocol} {formats}"
        yield from _in_order(self, before_connection="i")


@frozen
class SessionDescription(_Attributed):
    """A whole description.

    - `origin`: the `o=` line.
    - `session_name`: the `s=` line, "-" for none.
    - `connection`: the session's `c=`, None if every media description has its own.
    - `attributes`: (name, value or None) of the session, in order.
    - `media`: the media descriptions, in order.
    - `other`: (letter, value) of all other lines of the session, such as `t=` and `i=`.
    """

    origin: Origin
    session_name: str = "-"
    connection: Connection | None = None
    attributes: tuple[tuple[str, str | None], ...] = ()
    media: tuple[MediaDescription, ...] = ()
    other: tuple[tuple[str, str], ...] = _NO_TIME

    @classmethod
    def parse(cls, data: bytes) -> SessionDescription:
        """Read a description. Raises SdpError."""
        sections = _sections(data)
        session = sections[0]
        origin: Origin | None = None
        session_name = "-"
        for letter, value in session.other:
            if letter == "o":
                if origin is not None:
                    raise SdpError("SDP must have one o= line; it has two")
                origin = Origin.parse(value)
            elif letter == "s":
                session_name = value
        if origin is None:
            raise SdpError("SDP must have an o= line; it has none")
        return cls(
            origin,
            session_name,
            session.connection,
            session.attributes,
            tuple(_media(section) for section in sections[1:]),
            tuple(line for line in session.other if line[0] not in "os"),
        )

    def lines(self) -> Iterator[tuple[str, str]]:
        """(letter, value) of all its lines, in the order of the standard."""
        yield "v", "0"
        yield "o", str(self.origin)
        yield "s", self.session_name
        yield from _in_order(self, before_connection="iuep")
        for media in self.media:
            yield from media.lines()

    def __bytes__(self) -> bytes:
        text = "".join(f"{letter}={value}\r\n" for letter, value in self.lines())
        return text.encode("utf-8", "surrogateescape")

    def connection_of(self, index: int) -> Connection | None:
        """The connection information that holds for a media description (RFC 8866 §5.7)."""
        return self.media[index].connection or self.connection

    @property
    def times(self) -> tuple[tuple[str, str], ...]:
        """Its `t=`, `r=` and `z=` lines; `t=0 0` if it has none (RFC 8866 §5.9)."""
        return tuple(line for line in self.other if line[0] in "trz") or _NO_TIME


def offer(
    media: Sequence[MediaDescription], *, origin: Origin, session_name: str = "-"
) -> SessionDescription:
    """An offer of our own (RFC 3264 §5).

    The address of the session is that of `origin`.
    """
    return SessionDescription(origin, session_name, origin.connection, media=tuple(media))


def answer(
    offer: SessionDescription,
    chosen_index: int | None,
    media_line: MediaDescription | None,
    *,
    origin: Origin,
    session_name: str = "-",
) -> SessionDescription:
    """The answer that accepts one media description of an offer, or none (RFC 3264 §6).

    `media_line` is ours for `offer.media[chosen_index]`, both None to accept nothing. Every other
    one is refused with port 0, in its place and with its formats; the times are the offer's. The
    address of the session is that of `origin`. Raises ValueError if `media_line` is of another
    medium or protocol than the one it answers.
    """
    media = [description.refused() for description in offer.media]
    if chosen_index is not None and media_line is not None:
        refused = media[chosen_index]
        if media_line.media != refused.media or (
            media_line.protocol.upper() != refused.protocol.upper()
        ):
            raise ValueError(
                f"an answer to {refused.media} {refused.protocol} must not be "
                f"{media_line.media} {media_line.protocol}"
            )
        media[chosen_index] = media_line
    return SessionDescription(
        origin, session_name, origin.connection, media=tuple(media), other=offer.times
    )


@frozen
class _Section:
    """The lines of the session, or of one media description, sorted by their meaning."""

    first: str
    connection: Connection | None
    attributes: tuple[tuple[str, str | None], ...]
    other: tuple[tuple[str, str], ...]


def _sections(data: bytes) -> list[_Section]:
    """Split a description at its m= lines; the first section is the session's."""
    if len(data) > MAX_SDP:
        raise SdpError(f"SDP must not be longer than {MAX_SDP} octets; it has {len(data)}")
    lines = data.decode("utf-8", "surrogateescape").rstrip("\r\n").split("\n")
    sections: list[list[tuple[str, str]]] = [[]]
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if line[1:2] != "=" or "\r" in line or "\0" in line:
            raise SdpError(f"SDP line {number} must be 'letter=value': {shown(line)}")
        letter = line[0]
        if (letter == "v") != (number == 1):
            raise SdpError("SDP must start with its only v= line, 'v=0'")
        if letter == "m":
            sections.append([])
        sections[-1].append((letter, line[2:]))
    if sections[0][0] != ("v", "0"):
        raise SdpError(f"SDP must be of version 0, 'v=0': {shown(lines[0])}")
    if len(sections) > MAX_MEDIA + 1:
        raise SdpError(f"SDP must not have more than {MAX_MEDIA} m= lines")
    return [_section(section) for section in sections]


def _section(lines: list[tuple[str, str]]) -> _Section:
    connection: Connection | None = None
    attributes: list[tuple[str, str | None]] = []
    other: list[tuple[str, str]] = []
    for letter, value in lines[1:]:
        if letter == "a":
            name, colon, rest = value.partition(":")
            attributes.append((name, rest if colon else None))
        elif letter == "c" and connection is None:
            connection = Connection.parse(value)
        else:
            other.append((letter, value))
    return _Section(lines[0][1], connection, tuple(attributes), tuple(other))


def _media(section: _Section) -> MediaDescription:
    fields = _fields(section.first)
    if len(fields) < 4:
        raise SdpError(f"m= must be 'media port protocol format ...': {shown(section.first)}")
    port, slash, count = fields[1].partition("/")
    return MediaDescription(
        fields[0],
        _number(port, section.first),
        fields[2],
        tuple(fields[3:]),
        section.attributes,
        section.connection,
        _number(count, section.first) if slash else None,
        section.other,
    )


def _fields(value: str) -> list[str]:
    """The fields of a line. Only spaces separate them; more than one is read as one."""
    return [field for field in value.split(" ") if field]


def _number(text: str, line: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF):
        raise SdpError(f"m= must have a port from 0 to 65535: {shown(line)}")
    return int(text)


def _in_order(
    part: SessionDescription | MediaDescription, before_connection: str
) -> Iterable[tuple[str, str]]:
    """The lines after the first ones of a session or media description, as RFC 8866 §9 sorts."""
    yield from (line for line in part.other if line[0] in before_connection)
    if part.connection is not None:
        yield "c", str(part.connection)
    yield from (line for line in part.other if line[0] == "c")
    yield from (line for line in part.other if line[0] not in before_connection + "c")
    for name, value in part.attributes:
        yield "a", name if value is None else f"{name}:{value}"
