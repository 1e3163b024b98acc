"""URIs as SIP uses them: sip and sips (RFC 3261 section 19.1), tel (RFC 3966), and any other.

`parse_uri` reads all of them. Only a sip or sips URI has a host to send to: a `tel:`, `im:` or
`pres:` URI is a different class, and can never be mistaken for one.
"""

from __future__ import annotations

import re

from attrs import evolve, field, frozen

from msrpconf.protocols.sip import grammar
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import Parameters, get_parameter
from msrpconf.protocols.text import shown

__all__ = [
    "URI",
    "OtherURI",
    "SipURI",
    "TelURI",
    "parse_uri",
]

_USER_SAFE = "&=+$,;?/"
_PASSWORD_SAFE = "&=+$,"
_PARAMETER_SAFE = "[]/:&+$"
_HEADER_SAFE = "[]/?:+$"

_UNRESERVED = grammar.UNRESERVED_CHARS
_SIP_URI = re.compile(
    rf"(?P<scheme>[Ss][Ii][Pp][Ss]?):"
    rf"(?:(?P<user>[{_UNRESERVED}%&=+$,;?/]++)(?::(?P<password>[{_UNRESERVED}%&=+$,]*+))?@)?"
    rf"(?P<host>[A-Za-z0-9_.\-]++|\[[0-9A-Fa-f:.]++\])"
    rf"(?::(?P<port>[0-9]++))?"
    rf"(?P<parameters>(?:;[{_UNRESERVED}%\[\]/:&+$]++(?:=[{_UNRESERVED}%\[\]/:&+$]++)?)*+)"
    rf"(?:\?(?P<headers>[{_UNRESERVED}%\[\]/?:+$=&]++))?"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*")
_OPAQUE = re.compile(rf"[{_UNRESERVED}%;/?:@&=+$,\[\]#]+")
_TEL_NUMBER = re.compile(r"\+[0-9\-.()]+|[0-9A-Fa-f*#\-.()]+")
_TEL_PARAMETER = re.compile(rf"[A-Za-z0-9\-]+(?:=[{_UNRESERVED}%\[\]/:&+$]+)?")
_SEPARATORS = str.maketrans("", "", "-.()")

# RFC 3261 section 19.1.4: these never match a URI that lacks them.
_TELLING_PARAMETERS = ("user", "ttl", "method", "maddr", "transport")


@frozen
class SipURI:
    """A sip or sips URI (RFC 3261 section 19.1).

    `user`, `password`, parameters and headers are without escapes; `host` is in lower case, an
    IPv6 reference in its brackets. `==` compares what is stored; `equivalent` compares as the
    standard does.
    """

    scheme: str = field(converter=grammar.lower)
    user: str | None
    password: str | None
    host: str = field(converter=grammar.lower)
    port: int | None = None
    parameters: Parameters = ()
    headers: tuple[tuple[str, str], ...] = ()
    # The spelling as received, kept only where it has escapes: "%2B" and "+" are different
    # users to some peers (section 19.1.4), and only they know.
    _text: str | None = field(default=None, init=False, eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> SipURI:
        """The URI that is the whole of `text`, without angle brackets or white space.

        Raises `SipSyntaxError`.
        """
        match = _SIP_URI.fullmatch(text)
        if match is None:
            raise SipSyntaxError(_why_not_sip(text))
        scheme, user, password, host, port, parameter_text, header_text = match.groups()
        has_escapes = "%" in text
        if has_escapes:
            grammar.check_escapes(text)
            user = grammar.unescape(user) if user else user
            password = grammar.unescape(password) if password else password
        uri = cls(
            scheme,
            user,
            password,
            grammar.parse_host(host),
            grammar.parse_port(port) if port else None,
            _parse_parameters(parameter_text) if parameter_text else (),
            _parse_headers(header_text) if header_text else (),
        )
        if has_escapes:
            tail = text[match.end("host") :]
            userinfo = text[match.end("scheme") + 1 : match.start("host")]
            object.__setattr__(uri, "_text", f"{uri.scheme}:{userinfo}{uri.host}{tail}")
        return uri

    def __str__(self) -> str:
        if self._text is not None:
            return self._text
        parts = [self.scheme, ":", self._userinfo(), self.host]
        if self.port is not None:
            parts.append(f":{self.port}")
        for name, value in self.parameters:
            parts.append(";" + grammar.escape(name, _PARAMETER_SAFE))
            if value is not None:
                parts.append("=" + grammar.escape(value, _PARAMETER_SAFE))
        separator = "?"
        for name, value in self.headers:
            name = grammar.escape(name, _HEADER_SAFE)
            parts.append(f"{separator}{name}={grammar.escape(value, _HEADER_SAFE)}")
            separator = "&"
        return "".join(parts)

    def _userinfo(self) -> str:
        """The escaped user and password with the '@'; empty where there is no user."""
        if self.user is None:
            return ""
        if self._text is not None:
            return self._text[len(self.scheme) + 1 : self._text.index("@") + 1]
        user = grammar.escape(self.user, _USER_SAFE)
        if self.password is None:
            return f"{user}@"
        return f"{user}:{grammar.escape(self.password, _PASSWORD_SAFE)}@"

    def parameter(self, name: str) -> str | None:
        """The value of a URI parameter; None where it is absent or has none."""
        return get_parameter(self.parameters, name)

    def has_parameter(self, name: str) -> bool:
        """Whether the URI has a parameter, such as `lr`, with or without a value."""
        return grammar.has_parameter(self.parameters, name)

    def header(self, name: str) -> str | None:
        """The value of the first `?name=value` header of that name; None where there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def with_parameters(self, *parameters: tuple[str, str | None]) -> SipURI:
        """The URI with these parameters set, each in its old place or at the end."""
        result = self.parameters
        for name, value in parameters:
            result = grammar.set_parameter(result, name, value)
        return evolve(self, parameters=result)

    def without_parameters(self, *names: str) -> SipURI:
        """The URI without the parameters named."""
        return evolve(self, parameters=grammar.drop_parameters(self.parameters, names))

    @property
    def aor(self) -> SipURI:
        """The address of record: scheme sip, user and host only."""
        uri = SipURI("sip", self.user, None, self.host)
        if self._text is not None and self.user is not None:
            user = self._userinfo().rstrip("@").partition(":")[0]
            object.__setattr__(uri, "_text", f"sip:{user}@{self.host}")
        return uri

    @property
    def key(self) -> str:
        """The address of record in one canonical spelling, `sip:alice@example.com`.

        The same for sip and sips, with and without port: who, not where.
        """
        host = grammar.canonical_host(self.host)
        if self.user is None:
            return f"sip:{host}"
        user = self._userinfo()[:-1].partition(":")[0]
        return f"sip:{grammar.normalize_escapes(user)}@{host}"

    def equivalent(self, other: URI) -> bool:
        """Whether both are the same URI by RFC 3261 section 19.1.4. Not transitive."""
        if not isinstance(other, SipURI):
            return False
        if self._text is None and other._text is None and self == other:
            return True
        if (
            self.scheme != other.scheme
            or self.port != other.port
            or grammar.canonical_host(self.host) != grammar.canonical_host(other.host)
            or grammar.normalize_escapes(self._userinfo())
            != grammar.normalize_escapes(other._userinfo())
        ):
            return False
        my_parameters, my_headers = _comparable(self)
        parameters, headers = _comparable(other)
        shared = my_parameters.keys() & parameters.keys()
        return (
            my_headers == headers
            and all(my_parameters[name] == parameters[name] for name in shared)
            and all((name in my_parameters) == (name in parameters) for name in _TELLING_PARAMETERS)
        )


def _comparable(uri: SipURI) -> tuple[dict[str, str], list[str]]:
    """Parameters and headers in one spelling. Taken from the text, where an escaped '+' and a
    plain one differ; all without case but methods, which have it wherever they stand."""
    parameters, _, headers = str(uri).rpartition("@")[2].partition("?")
    folded = {}
    for item in parameters.split(";")[1:]:
        name, _, value = grammar.normalize_escapes(item).partition("=")
        name = name.lower()
        folded[name] = value if name == "method" else value.lower()
    return folded, sorted(grammar.normalize_escapes(item).lower() for item in headers.split("&"))


def _parse_parameters(text: str) -> Parameters:
    parameters: list[tuple[str, str | None]] = []
    for item in text[1:].split(";"):
        name, equals, value = item.partition("=")
        parameters.append((grammar.unescape(name), grammar.unescape(value) if equals else None))
    if len(parameters) > 1 and len({name.lower() for name, _ in parameters}) < len(parameters):
        raise SipSyntaxError(f"a URI parameter is given twice: {shown(text)}")
    return tuple(parameters)


def _parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    headers = []
    for item in text.split("&"):
        name, equals, value = item.partition("=")
        if not name or not equals or "=" in value:
            raise SipSyntaxError(f"expected 'name=value' after '?' in a URI, got {shown(item)}")
        headers.append((grammar.unescape(name), grammar.unescape(value)))
    return tuple(headers)


def _why_not_sip(text: str) -> str:
    """Names the part of a sip URI that is wrong; `text` is known not to match."""
    for sign, why in (
        (r"[<>]", "angle brackets do not belong to a URI"),
        (r"[\s]", "a URI cannot hold white space"),
        (r"[^\x21-\x7e]", "characters outside printable ASCII must be escaped as %XX"),
    ):
        if re.search(sign, text):
            return f"{why}: {shown(text)}"
    return f"expected 'sip:user@host:port;parameters?headers', got {shown(text)}"


@frozen
class TelURI:
    """A telephone number (RFC 3966): `number` as written, `+1-201-555-0123` or `7042`.

    A local number ought to have a `phone-context` parameter; one without is accepted, and is
    the same only as another without.
    """

    number: str
    parameters: Parameters = ()

    @property
    def scheme(self) -> str:
        """Always `tel`."""
        return "tel"

    @classmethod
    def parse(cls, text: str) -> TelURI:
        """The URI that is the whole of `text`. Raises `SipSyntaxError`."""
        scheme, colon, rest = text.partition(":")
        number, *items = rest.split(";")
        if (
            scheme.lower() != "tel"
            or not colon
            or not _TEL_NUMBER.fullmatch(number)
            or not number.translate(_SEPARATORS).lstrip("+")
        ):
            raise SipSyntaxError(f"expected 'tel:' and a telephone number, got {shown(text)}")
        parameters: list[tuple[str, str | None]] = []
        for item in items:
            if not _TEL_PARAMETER.fullmatch(item):
                raise SipSyntaxError(f"expected a 'name=value' tel parameter, got {shown(item)}")
            grammar.check_escapes(item)
            name, equals, value = item.partition("=")
            parameters.append((name, grammar.unescape(value) if equals else None))
        if len({name.lower() for name, _ in parameters}) < len(parameters):
            raise SipSyntaxError(f"a tel parameter is given twice: {shown(text)}")
        return cls(number, tuple(parameters))

    def __str__(self) -> str:
        parts = [f"tel:{self.number}"]
        for name, value in self.parameters:
            parts.append(f";{name}")
            if value is not None:
                parts.append("=" + grammar.escape(value, _PARAMETER_SAFE))
        return "".join(parts)

    def parameter(self, name: str) -> str | None:
        """The value of a parameter; None where it is absent or has none."""
        return get_parameter(self.parameters, name)

    @property
    def key(self) -> str:
        """One spelling for all equivalent URIs: lower case, no separators, sorted parameters."""
        parts = [f"tel:{self.number.translate(_SEPARATORS).lower()}"]
        for name, value in sorted(
            ((name.lower(), value) for name, value in self.parameters), key=lambda pair: pair[0]
        ):
            if value is None:
                parts.append(f";{name}")
                continue
            value = value.lower()
            if name == "ext" or (name == "phone-context" and value.startswith("+")):
                value = value.translate(_SEPARATORS)
            parts.append(f";{name}={grammar.escape(value, _PARAMETER_SAFE)}")
        return "".join(parts)

    def equivalent(self, other: URI) -> bool:
        """Whether both are the same number by RFC 3966 section 4."""
        return isinstance(other, TelURI) and self.key == other.key


@frozen
class OtherURI:
    """Any other absolute URI: `scheme` in lower case, and `opaque`, the rest as written."""

    scheme: str = field(converter=grammar.lower)
    opaque: str

    @classmethod
    def parse(cls, text: str) -> OtherURI:
        """The URI that is the whole of `text`. Raises `SipSyntaxError`."""
        scheme, colon, opaque = text.partition(":")
        if not colon or not _SCHEME.fullmatch(scheme) or not _OPAQUE.fullmatch(opaque):
            raise SipSyntaxError(f"expected a URI, 'scheme:...', got {shown(text)}")
        grammar.check_escapes(opaque)
        return cls(scheme, opaque)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.opaque}"

    def _mailbox(self) -> tuple[str, str] | None:
        if self.scheme not in ("im", "pres"):
            return None
        user, at, host = self.opaque.partition("?")[0].rpartition("@")
        return (user, host) if at and user and host else None

    @property
    def user(self) -> str | None:
        """The user of an `im:` or `pres:` URI, without escapes (RFC 3860, RFC 3859)."""
        mailbox = self._mailbox()
        return grammar.unescape(mailbox[0]) if mailbox else None

    @property
    def host(self) -> str | None:
        """The domain of an `im:` or `pres:` URI, in lower case: an identity, not an address."""
        mailbox = self._mailbox()
        return mailbox[1].lower() if mailbox else None

    @property
    def key(self) -> str:
        """One spelling for identity: `im:alice@example.com`; other schemes as written."""
        mailbox = self._mailbox()
        if mailbox is None:
            return str(self)
        return f"{self.scheme}:{grammar.normalize_escapes(mailbox[0])}@{mailbox[1].lower()}"

    def equivalent(self, other: URI) -> bool:
        """Whether both are the same, but for case where case does not matter."""
        return isinstance(other, OtherURI) and self.key == other.key


URI = SipURI | TelURI | OtherURI


def parse_uri(text: str) -> URI:
    """The URI that is the whole of `text`, of whatever scheme. Raises `SipSyntaxError`."""
    prefix = text[:5].lower()
    if prefix.startswith(("sip:", "sips:")):
        return SipURI.parse(text)
    if prefix.startswith("tel:"):
        return TelURI.parse(text)
    return OtherURI.parse(text)
