"""Who somebody is: the URIs that the focus knows a user by (RFC 7701 §5.2, §6.1)."""

from __future__ import annotations

from attrs import frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.uri import SipURI, parse_uri


@frozen
class Identity:
    """A user: `uri` names them to others, `display_name` is for people to read.

    `keys` are the canonical forms of every URI that the user may name itself by;
    the first identifies the user, so that one user may be in a room from several
    devices.
    """

    uri: str
    display_name: str | None
    keys: tuple[str, ...]

    @classmethod
    def of(cls, from_: NameAddr, asserted: tuple[NameAddr, ...] = ()) -> Identity:
        """The user of a request: its asserted identities if any (RFC 3325), else its From."""
        known = (*asserted, from_)
        first = known[0]
        name = next((each.display_name for each in known if each.display_name), None)
        keys = dict.fromkeys(each.uri.key for each in known)
        return cls(_bare(first), name, tuple(keys))

    @property
    def key(self) -> str:
        """What identifies the user: the canonical form of the first of the URIs."""
        return self.keys[0]

    @property
    def short(self) -> str:
        """The user as plain text names it: ``alice@example.com``, the URI without its scheme."""
        return self.uri.partition(":")[2]

    def is_known_as(self, uri: str) -> bool:
        """Whether `uri`, as text, is one of the user's, compared as URIs and not as text."""
        try:
            return parse_uri(uri).key in self.keys
        except SipSyntaxError:
            return False

    def __str__(self) -> str:
        return self.uri


def _bare(address: NameAddr) -> str:
    """The URI without what belongs to one device or dialog (port, parameters)."""
    uri = address.uri
    return str(uri.aor) if isinstance(uri, SipURI) else uri.key
