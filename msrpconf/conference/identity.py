"""Who somebody is: the URIs that the focus knows a user by (RFC 7701 §5.2, §6.1)."""

from __future__ import annotations

from attrs import Factory, evolve, field, frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.uri import SipURI, parse_uri

ANONYMOUS = "sip:anonymous@anonymous.invalid"
"""The URI of who does not want to be known (RFC 3323 §4.1.1.3): nobody's, so anybody's."""

ANONYMOUS_DOMAIN = "anonymous.invalid"

# RFC 3323 §4.2, RFC 3325 §9.3: the services that hide who the user is.
_HIDING = frozenset(("id", "user"))


@frozen
class Identity:
    """A user: `uri` names them to others, `display_name` is for people to read.

    `keys` are the canonical forms of every URI that the user may name itself by;
    the first identifies the user, so that one user may be in a room from several
    devices. Of who wants to be `anonymous`, `uri` is an anonymous URI, and the
    first key is still the user's, where the focus knows it; nobody else learns it.
    `proven` are those of the keys that the user can be held to: the asserted ones,
    else that of From; none if that is anonymous.
    """

    uri: str
    display_name: str | None
    keys: tuple[str, ...]
    proven: tuple[str, ...] = field(
        default=Factory(lambda self: _proven(self.keys), takes_self=True)
    )
    anonymous: bool = False

    @classmethod
    def of(
        cls, from_: NameAddr, asserted: tuple[NameAddr, ...] = (), *, private: bool = False
    ) -> Identity:
        """The user of a request: its asserted identities if any (RFC 3325), else its From.

        What is asserted is not shown where the user asks for privacy: by an
        anonymous From, or by `private` (RFC 7701 §5.2).
        """
        known = (*asserted, from_)
        keys = tuple(dict.fromkeys(each.uri.key for each in known))
        # A proxy that asserts who the user is lets From say what it likes.
        proven = _proven(tuple(each.uri.key for each in asserted or known))
        if _is_anonymous(from_):
            return cls(_bare(from_), from_.display_name, keys, proven, True)
        if private:
            return cls(ANONYMOUS, None, keys, proven, True)
        name = next((each.display_name for each in known if each.display_name), None)
        return cls(_bare(known[0]), name, keys, proven)

    @classmethod
    def of_request(cls, request: Request) -> Identity:
        """The user who sent a request, as the focus settled it. Raises `SipSyntaxError`."""
        headers = request.headers
        if "P-Asserted-Identity" not in headers and "Privacy" not in headers:
            return cls.of(request.from_)
        privacy = {
            token.strip().lower()
            for value in headers.get_all("Privacy")
            for token in value.replace(",", ";").split(";")
        }
        asserted = tuple(request.name_addrs("P-Asserted-Identity"))
        return cls.of(request.from_, asserted, private=not _HIDING.isdisjoint(privacy))

    @property
    def key(self) -> str:
        """What identifies the user: the canonical form of the first of the URIs."""
        return self.keys[0]

    @property
    def is_unknown(self) -> bool:
        """Whether the focus knows nothing that would tell this user from others."""
        return self.key == ANONYMOUS

    def named(self, uri: str) -> Identity:
        """The same user under an anonymous URI of its own."""
        key = parse_uri(uri).key
        keys = tuple(each for each in self.keys if each != ANONYMOUS)
        return evolve(self, uri=uri, keys=(*keys, key) if key not in keys else keys)

    @property
    def public_keys(self) -> tuple[str, ...]:
        """The canonical forms of the URIs that others may address the user by."""
        return (parse_uri(self.uri).key,) if self.anonymous else self.keys

    @property
    def short(self) -> str:
        """The user as plain text names it: ``alice@example.com``, the URI without its scheme."""
        return self.uri.partition(":")[2]

    def is_known_as(self, uri: str) -> bool:
        """Whether the user may name itself by `uri`, compared as URIs and not as text.

        Those are the URIs that the focus knows it by, the im: form of one (RFC 3860:
        the same user of the same domain), and the anonymous URI (RFC 7701 §6.1).
        """
        if uri in (self.uri, ANONYMOUS):
            return True
        try:
            key = parse_uri(uri).key
        except SipSyntaxError:
            return False
        return key in self.keys or (key.startswith("im:") and f"sip:{key[3:]}" in self.keys)

    def __str__(self) -> str:
        """The user as our log names it, also one who is anonymous to others."""
        return self.key


def _proven(keys: tuple[str, ...]) -> tuple[str, ...]:
    hidden = f"@{ANONYMOUS_DOMAIN}"
    return tuple(dict.fromkeys(key for key in keys if not key.endswith(hidden)))


def _is_anonymous(address: NameAddr) -> bool:
    return isinstance(address.uri, SipURI) and address.uri.host == ANONYMOUS_DOMAIN


def _bare(address: NameAddr) -> str:
    """The URI without what belongs to one device or dialog (port, parameters)."""
    uri = address.uri
    return str(uri.aor) if isinstance(uri, SipURI) else uri.key
