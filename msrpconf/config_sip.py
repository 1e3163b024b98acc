"""`[sip]`: the SIP endpoint, and who is believed there."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from attrs import frozen

from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.config_values import Network
from msrpconf.protocols.sip.flow import Address


@frozen
class SipConfig:
    """`[sip]`: the SIP endpoint of the focus.

    - `listen`: addresses to listen at, numeric.
    - `domains`: the conference domains served, in lower case; ("*",) for all.
    - `trusted`: the networks of the proxies whose word is taken for who a user is.
    - `authenticate`: whether others are asked for a password; else they are refused.
    - `realm`: the domain of the users who have one.
    - `contact`: which URI our Contact has: the conference's, our address's, or "auto".
    - `address`: the host to advertise in Via and Contact, None for the one listened at.
    - `require`: the option tags that every INVITE must support.
    - `max_transactions`: server transactions at one time.
    """

    listen: tuple[Address, ...] = key(
        (Address("udp", "127.0.0.1", 5060), Address("tcp", "127.0.0.1", 5060)),
        values.list_of(values.address("udp", "tcp"), "addresses to listen at", empty=False),
    )
    domains: tuple[str, ...] = key(("*",), values.domains)
    trusted: tuple[Network, ...] = key(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        values.list_of(values.network, "networks", empty=True),
    )
    authenticate: bool = key(False, values.boolean)
    realm: str | None = key(None, values.domain)
    contact: str = key("auto", values.contact)
    address: str | None = key(None, values.host)
    require: tuple[str, ...] = key((), values.list_of(values.option_tag, "option tags", empty=True))
    max_transactions: int = key(100_000, values.count)

    def problems(self, *, trusted_written: bool, database: bool) -> Iterable[str]:
        """What is wrong with who is believed, each with its table and key.

        `trusted_written` says whether the file has `trusted`, `database` whether there is one.
        """
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
                yield (
                    f'[sip] listen: "{address}" is open to other hosts, and [sip] trusted does '
                    "not say which of them are believed; write the addresses of your SIP proxies, "
                    'such as trusted = ["127.0.0.0/8", "::1/128", "192.0.2.10"], or authenticate = '
                    "true to ask users for their passwords"
                )
                return
