"""`[sip]`: the SIP endpoint, and who is believed there."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from attrs import frozen

from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.config_values import Network, UnexpectedValue
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import (
    Address,
    Endpoint,
    bracket,
    is_numeric,
    parse_endpoint,
    unbracket,
)
from msrpconf.protocols.sip.grammar import parse_host
from msrpconf.protocols.sip.identities import identity


@frozen
class TlsPeer:
    """A proxy that proves by TLS to be a SIP domain (RFC 5922); `name` is in lower case."""

    name: str

    def __str__(self) -> str:
        return f"tls:{self.name}"


def trusted(text: str) -> Network | TlsPeer:
    """A proxy that is believed."""
    scheme, colon, name = text.partition(":")
    if not colon or scheme.lower() != "tls":
        return values.network(text)
    try:
        return TlsPeer(identity(parse_host(bracket(unbracket(name)))))
    except SipSyntaxError:
        expected = 'the name in a certificate, without wildcards, such as "tls:proxy.example.com"'
        raise UnexpectedValue(expected, text) from None


def nameserver(text: str) -> Endpoint:
    """Where a nameserver is."""
    try:
        host, port = (text, 53) if is_numeric(text) else parse_endpoint(text)
    except ValueError:
        host, port = "", 0
    if not is_numeric(host) or not port:
        expected = 'addresses such as "192.0.2.53", "2001:db8::53" or "127.0.0.1:5353"'
        raise UnexpectedValue(expected, text)
    return host, port


@frozen
class SipConfig:
    """`[sip]`: the SIP endpoint of the focus.

    - `listen`: addresses to listen at, numeric.
    - `domains`: the conference domains served, in lower case; ("*",) for all.
    - `trusted`: the proxies whose word is taken for who a user is: their networks, or the SIP
      domains that they prove to be by TLS.
    - `require_certificate`: whether who connects by TLS must have a certificate.
    - `nameservers`: where names are looked up; none for the system's.
    - `authenticate`: whether others are asked for a password; else they are refused.
    - `realm`: the domain of the users who have one.
    - `contact`: which URI our Contact has: the conference's, our address's, or "auto".
    - `address`: the host to advertise in Via and Contact, None for the one listened at.
    - `require`: the option tags that every INVITE must support.
    - `max_transactions`: server transactions at one time.
    """

    listen: tuple[Address, ...] = key(
        (Address("udp", "127.0.0.1", 5060), Address("tcp", "127.0.0.1", 5060)),
        values.list_of(values.address("udp", "tcp", "tls"), "addresses to listen at", empty=False),
    )
    domains: tuple[str, ...] = key(("*",), values.domains)
    trusted: tuple[Network | TlsPeer, ...] = key(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        values.list_of(trusted, "networks", empty=True),
    )
    require_certificate: bool = key(False, values.boolean)
    nameservers: tuple[Endpoint, ...] = key(
        (), values.list_of(nameserver, "addresses of nameservers", empty=True)
    )
    authenticate: bool = key(False, values.boolean)
    realm: str | None = key(None, values.domain)
    contact: str = key("auto", values.contact)
    address: str | None = key(None, values.host)
    require: tuple[str, ...] = key((), values.list_of(values.option_tag, "option tags", empty=True))
    max_transactions: int = key(100_000, values.count)

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """The networks of those who are believed."""
        return tuple(each for each in self.trusted if not isinstance(each, TlsPeer))

    @property
    def trusted_names(self) -> frozenset[str]:
        """The SIP domains of those who are believed if they prove to be that."""
        return frozenset(each.name for each in self.trusted if isinstance(each, TlsPeer))

    def problems(
        self, *, trusted_written: bool, database: bool, certificate: bool
    ) -> Iterable[str]:
        """What is wrong with where we listen and who is believed, each with its table and key.

        `trusted_written` says whether the file has `trusted`, `database` whether there is one, and
        `certificate` whether there is one of ours.
        """
        yield from self._tls_problems(certificate)
        yield from self._trust_problems(trusted_written, database)

    def _tls_problems(self, certificate: bool) -> Iterable[str]:
        listens = next((each for each in self.listen if each.transport == "tls"), None)
        if listens is not None and not certificate:
            yield (
                f'[sip] listen: "{listens}" needs a certificate; write the table [tls] with '
                'certificate = "server.pem" and private_key = "server.key"'
            )
        if listens is not None:
            return
        needs = 'is for who connects by TLS; add an address to listen, such as "tls:192.0.2.1:5061"'
        for each in self.trusted:
            if isinstance(each, TlsPeer):
                yield f'[sip] trusted: "{each}" {needs}'
                return
        if self.require_certificate:
            yield f"[sip] require_certificate: it {needs}"

    def _trust_problems(self, trusted_written: bool, database: bool) -> Iterable[str]:
        if self.authenticate:
            if self.realm is None:
                yield (
                    "[sip] authenticate: there is no realm; write the domain of the users, such"
                    ' as realm = "example.com" for sip:alice@example.com'
                )
            if not database:
                yield (
                    "[sip] authenticate: there is no table of users; write the table [database],"
                    " and add them with: msrpconf user add alice@example.com"
                )
            return
        if not self.trusted:
            yield (
                "[sip] trusted: nobody is, so every request would be refused; write the addresses"
                " of your SIP proxies, or authenticate = true to ask for passwords"
            )
        if trusted_written:
            return
        for address in self.listen:
            if not values.is_loopback(address):
                names = ', or "tls:proxy.example.com" for the name in a certificate'
                yield (
                    f'[sip] listen: "{address}" is open to other hosts, and [sip] trusted does '
                    "not say which of them are believed; write the addresses of your SIP proxies, "
                    'such as trusted = ["127.0.0.0/8", "::1/128", "192.0.2.10"]'
                    f"{names if address.transport == 'tls' else ''}, or authenticate = "
                    "true to ask users for their passwords"
                )
                return
