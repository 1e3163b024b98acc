"""What is wrong with the table `[xcap]`, of which each key is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msrpconf.config_management import TokenError, read_token
from msrpconf.protocols.sip.flow import Address


class Table(Protocol):
    """The values of the table."""

    @property
    def listen(self) -> Sequence[Address]: ...

    @property
    def users(self) -> Mapping[str, str]: ...

    @property
    def token(self) -> str | None: ...

    @property
    def token_file(self) -> str | None: ...


def problems(table: Table, directory: Path, *, database: bool, tls: bool) -> Iterable[str]:
    """Each with its table and key. `database` and `tls` say whether those are configured."""
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
