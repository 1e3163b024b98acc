"""`[xcap]`: the XCAP server, and who may ask it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen

from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.config_management import TokenError, read_token
from msrpconf.protocols.sip.flow import Address


@frozen
class XcapConfig:
    """`[xcap]`: the XCAP server, which runs where the table is written.

    - `listen`: addresses to listen at, numeric.
    - `users`: the passwords of the users who may ask, by their canonical URIs.
    - `token`, `token_file`: what the operator has instead, as of `[management]`.
    """

    listen: tuple[Address, ...] = key(
        (Address("tcp", "127.0.0.1", 8090),),
        values.list_of(values.address("tcp", "tls"), "addresses to listen at", empty=False),
    )
    users: dict[str, str] = field(factory=dict, repr=False, metadata={"read": values.passwords})
    token: str | None = key(None, values.token, shown=False)
    token_file: str | None = key(None, values.file)


def problems(table: XcapConfig, directory: Path, *, database: bool, tls: bool) -> Iterable[str]:
    """What is wrong with the table, each key of which is right, with its table and key.

    `database` and `tls` say whether those are configured.
    """
    if not database:
        yield (
            "[xcap]: the documents are in a database, and there is none; write the table [database]"
        )
    try:
        token = read_token(directory, table.token, table.token_file)
    except TokenError as error:
        yield f"[xcap] {error}"
        return
    if not table.users and token is None:
        yield (
            "[xcap] users: nobody may ask; write the passwords of the rooms' owners, such as"
            ' users = { "sip:alice@example.com" = "secret" }, or a token_file for yourself'
        )
    for address in table.listen:
        if address.transport == "tls" and not tls:
            yield (
                f'[xcap] listen: "{address}" needs a certificate; write the table [tls] with '
                'certificate = "server.pem" and private_key = "server.key"'
            )
            return
