"""The values of header fields: parse with `parse`, write with `str` (RFC 3261 section 20)."""

from __future__ import annotations

import re

from attrs import evolve, field, frozen

from msrpconf.protocols.sip import grammar
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import (
    Parameters,
    Quoted,
    format_parameters,
    get_parameter,
    has_parameter,
    parse_parameters,
    parse_token_list,
    quote_string,
    set_parameter,
    split_list,
    unquote_string,
)
from msrpconf.protocols.sip.uri import URI, parse_uri
from msrpconf.protocols.text import shown

__all__ = [
    "CSeq",
    "MediaType",
    "NameAddr",
    "Parameterized",
    "Parameters",
    "Quoted",
    "Reason",
    "Via",
    "Warning_",
    "parse_name_addrs",
    "parse_token_list",
    "split_list",
]

MAX_CSEQ = 2**32 - 1

_TOKEN = f"[{grammar.TOKEN_CHARS}]"
# A display name without quotes may have letters beyond ASCII: clients send them, and they
# cannot be taken for anything else.
_NAME_ADDR = re.compile(
    rf"[ \t]*+(?:({grammar.QUOTED})|([{grammar.TOKEN_CHARS} \t\u0080-\U0010ffff]*+))"
    rf"[ \t]*+<([^>]*+)>[ \t]*+"
)
_ADDR_SPEC = re.compile(r'[ \t]*+([^ \t;,?<>"]++)[ \t]*+')
_VIA = re.compile(
    rf"[ \t]*+({_TOKEN}++)[ \t]*+/[ \t]*+({_TOKEN}++)[ \t]*+/[ \t]*+({_TOKEN}++)[ \t]++"
    rf"([A-Za-z0-9_.\-]++|\[[0-9A-Fa-f:.]++\])[ \t]*+(?::[ \t]*+([0-9]++)[ \t]*+)?"
)
_CSEQ = re.compile(rf"[ \t]*+([0-9]++)[ \t]++({_TOKEN}++)[ \t]*+")
_MEDIA_TYPE = re.compile(rf"[ \t]*+({_TOKEN}++)[ \t]*+/[ \t]*+({_TOKEN}++)[ \t]*+")
_WARNING = re.compile(rf'([0-9]{{3}})[ \t]++([^\x00-\x20",<>]++)[ \t]++({grammar.QUOTED})')
_HEAD = re.compile(r"[^\x00-\x08\x0a-\x1f;]+")


@frozen
class NameAddr:
    """A URI with a display name and header parameters: From, To, Contact, Route, Refer-To, ...

    Without angle brackets, parameters belong to the header field and not to the URI
    (RFC 3261 section 20). `display_name` and parameter values are without quotes and quoting.
    """

    uri: URI
    display_name: str | None = None
    parameters: Parameters = ()

    @classmethod
    def parse(cls, value: str) -> NameAddr:
        """One name-addr or addr-spec that fills `value`. Raises `SipSyntaxError`."""
        match = _NAME_ADDR.match(value)
        if match is not None:
            quoted, words, uri_text = match.groups()
            if quoted is not None:
                name: str | None = unquote_string(quoted)
            else:
                name = words.strip(" \t") or None
        else:
            match = _ADDR_SPEC.match(value)
            if match is None:
                raise SipSyntaxError(f"expected '\"name\" <uri>;parameters', got {shown(value)}")
            uri_text, name = match.group(1), None
        end = match.end()
        if end == len(value):
            return cls(parse_uri(uri_text), name)
        if value[end] != ";":
            raise SipSyntaxError(
                f"expected one '\"name\" <uri>' and then ';parameters', got {shown(value)}"
            )
        return cls(parse_uri(uri_text), name, parse_parameters(value, end))

    def __str__(self) -> str:
        name = "" if self.display_name is None else quote_string(self.display_name) + " "
        return f"{name}<{self.uri}>{format_parameters(self.parameters)}"

    def parameter(self, name: str) -> str | None:
        """The value of a header parameter; None where it is absent or has none."""
        return get_parameter(self.parameters, name)

    def has_parameter(self, name: str) -> bool:
        """Whether there is such a header parameter, with or without a value (`isfocus`)."""
        return has_parameter(self.parameters, name)

    @property
    def tag(self) -> str | None:
        """The `tag` parameter of From and To."""
        return get_parameter(self.parameters, "tag")

    def with_parameter(self, name: str, value: str | None) -> NameAddr:
        """The same with one parameter set, in its old place or at the end."""
        return evolve(self, parameters=set_parameter(self.parameters, name, value))

    def with_tag(self, tag: str) -> NameAddr:
        """The same with its `tag` set."""
        return self.with_parameter("tag", tag)


def parse_name_addrs(value: str) -> list[NameAddr]:
    """The elements of a comma-separated list of addresses. Raises `SipSyntaxError`."""
    return [NameAddr.parse(element) for element in split_list(value)]


def _upper(text: str) -> str:
    return text.upper()


@frozen
class Via:
    """One hop of a message's way (RFC 3261 section 20.42): `SIP/2.0/UDP host:port;branch=...`.

    `transport` is in upper case, `host` in lower case, `protocol` normally `SIP/2.0`.
    """

    transport: str = field(converter=_upper)
    host: str = field(converter=grammar.lower)
    port: int | None = None
    parameters: Parameters = ()
    protocol: str = "SIP/2.0"

    @classmethod
    def parse(cls, value: str) -> Via:
        """One Via value that fills `value`. Raises `SipSyntaxError`."""
        match = _VIA.match(value)
        if match is None:
            raise SipSyntaxError(
                f"expected 'SIP/2.0/TRANSPORT host:port;parameters', got {shown(value)}"
            )
        name, version, transport, host, port = match.groups()
        end = match.end()
        return cls(
            transport,
            grammar.parse_host(host),
            grammar.parse_port(port) if port else None,
            parse_parameters(value, end) if end < len(value) else (),
            f"{name}/{version}",
        )

    @classmethod
    def salvage(cls, value: str) -> Via | None:
        """What can be read of a Via value that `parse` refuses: enough to send an answer.

        The host and port, and the parameters up to the first that is wrong; None where there is
        no host.
        """
        match = _VIA.match(value)
        if match is None:
            return None
        for end in (grammar.parameters_end(value, match.end()), match.end()):
            try:
                return cls.parse(value[:end])
            except SipSyntaxError:
                continue
        return None

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        parameters = format_parameters(self.parameters)
        return f"{self.protocol}/{self.transport} {self.host}{port}{parameters}"

    def parameter(self, name: str) -> str | None:
        """The value of a parameter; None where it is absent or has none."""
        return get_parameter(self.parameters, name)

    def has_parameter(self, name: str) -> bool:
        """Whether there is such a parameter, with or without a value."""
        return has_parameter(self.parameters, name)

    def with_parameter(self, name: str, value: str | None) -> Via:
        """The same with one parameter set, in its old place or at the end."""
        return evolve(self, parameters=set_parameter(self.parameters, name, value))

    @property
    def branch(self) -> str | None:
        """The transaction's identifier."""
        return get_parameter(self.parameters, "branch")

    @property
    def received(self) -> str | None:
        """The address that the message came from; IPv6 without brackets (RFC 5118 section 4.5)."""
        value = get_parameter(self.parameters, "received")
        return value.strip("[]") if value else value

    @property
    def rport(self) -> int | None:
        """The port that the message came from, where one has been filled in (RFC 3581)."""
        try:
            return grammar.parse_port(get_parameter(self.parameters, "rport") or "")
        except SipSyntaxError:
            return None

    @property
    def wants_rport(self) -> bool:
        """Whether the sender asked for the answer at the port it sent from (RFC 3581)."""
        return has_parameter(self.parameters, "rport")


@frozen
class CSeq:
    """A request's number in its dialog and its method (RFC 3261 section 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, value: str) -> CSeq:
        """Raises `SipSyntaxError` for anything but `number METHOD`, the number below 2**32."""
        match = _CSEQ.fullmatch(value)
        if match is None:
            raise SipSyntaxError(f"expected 'number METHOD', got {shown(value)}")
        return cls(grammar.parse_number(match[1], MAX_CSEQ), match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@frozen
class MediaType:
    """A Content-Type (RFC 3261 section 20.15); `type` and `subtype` in lower case."""

    type: str = field(converter=grammar.lower)
    subtype: str = field(converter=grammar.lower)
    parameters: Parameters = ()

    @classmethod
    def parse(cls, value: str) -> MediaType:
        """One media type that fills `value`; parameters as mail has them. `SipSyntaxError`."""
        match = _MEDIA_TYPE.match(value)
        if match is None:
            raise SipSyntaxError(f"expected 'type/subtype;parameters', got {shown(value)}")
        end = match.end()
        parameters = parse_parameters(value, end, mime=True) if end < len(value) else ()
        return cls(match[1], match[2], parameters)

    def __str__(self) -> str:
        return self.essence + format_parameters(self.parameters)

    @property
    def essence(self) -> str:
        """`type/subtype` without parameters."""
        return f"{self.type}/{self.subtype}"

    def parameter(self, name: str) -> str | None:
        """The value of a parameter; None where it is absent or has none."""
        return get_parameter(self.parameters, name)


@frozen
class Parameterized:
    """Something with parameters: Event, Subscription-State, Content-Disposition, Replaces, ..."""

    value: str
    parameters: Parameters = ()

    @classmethod
    def parse(cls, value: str) -> Parameterized:
        """`value;name=value;...`; the first part must not be empty. Raises `SipSyntaxError`."""
        head, semicolon, _ = value.partition(";")
        first = head.strip(" \t")
        if not _HEAD.fullmatch(first):
            raise SipSyntaxError(f"expected 'value;parameters', got {shown(value)}")
        return cls(first, parse_parameters(value, len(head)) if semicolon else ())

    def __str__(self) -> str:
        return self.value + format_parameters(self.parameters)

    def parameter(self, name: str) -> str | None:
        """The value of a parameter; None where it is absent or has none."""
        return get_parameter(self.parameters, name)


@frozen
class Reason:
    """Why a request was sent (RFC 3326): `SIP;cause=200;text="Call completed elsewhere"`."""

    protocol: str
    cause: int | None = None
    text: str | None = None

    @classmethod
    def parse(cls, value: str) -> Reason:
        """One reason that fills `value`; unknown parameters are dropped. `SipSyntaxError`."""
        parsed = Parameterized.parse(value)
        cause = parsed.parameter("cause")
        if not grammar.is_token(parsed.value):
            raise SipSyntaxError(f"expected 'protocol;cause=number', got {shown(value)}")
        number = None if cause is None else grammar.parse_number(cause, 2**31 - 1)
        return cls(parsed.value, number, parsed.parameter("text"))

    def __str__(self) -> str:
        cause = "" if self.cause is None else f";cause={self.cause}"
        text = "" if self.text is None else f";text={quote_string(self.text)}"
        return f"{self.protocol}{cause}{text}"


@frozen
class Warning_:
    """A Warning value (RFC 3261 section 20.43): three digits, who warns, and the text."""

    code: int
    agent: str
    text: str

    @classmethod
    def parse(cls, value: str) -> Warning_:
        """One warning that fills `value`. Raises `SipSyntaxError`."""
        match = _WARNING.fullmatch(value.strip(" \t"))
        if match is None:
            raise SipSyntaxError(f"expected '399 host \"text\"', got {shown(value)}")
        return cls(int(match[1]), match[2], unquote_string(match[3]))

    def __str__(self) -> str:
        return f"{self.code:03d} {self.agent} {quote_string(self.text)}"
