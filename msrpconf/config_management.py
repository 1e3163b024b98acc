"""`[management]`, and the token that whoever asks the management interface must have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.listen import ListenAddress

_MANAGEMENT = ListenAddress("127.0.0.1", 8080)


@frozen
class ManagementConfig:
    """`[management]`: the HTTP interface for operators, programs and Prometheus.

    - `listen`: where; an address is numeric.
    - `token`: what whoever asks must have; needed where other hosts can ask.
    - `token_file`: a file with it, relative to the configuration's.
    """

    listen: ListenAddress = key(_MANAGEMENT, values.management_address)  # noqa: RUF009
    token: str | None = key(None, values.token, shown=False)
    token_file: str | None = key(None, values.file)


class TokenError(ValueError):
    """There is no token that could be used; the text says which key is wrong, and how."""


def read_token(directory: Path, token: str | None, token_file: str | None) -> str | None:
    """The token, or that of the file, which is relative to `directory`; None for neither.

    Raises `TokenError`.
    """
    if token_file is None:
        return token
    if token is not None:
        raise TokenError("token_file: there is a token, too; write one of the two")
    path = directory / token_file
    try:
        found = path.read_text("utf-8").strip()
    except OSError as error:
        raise TokenError(f"token_file: {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        found = ""
    if not values.is_secret(found):
        raise TokenError(
            f"token_file: {path} must have one line, of {values.MIN_TOKEN} to"
            f" {values.MAX_TOKEN} characters of ASCII without blanks"
        )
    return found


def problems(
    directory: Path, listen: ListenAddress, token: str | None, token_file: str | None
) -> Iterable[str]:
    """What is wrong with these keys, each with its name."""
    try:
        secret = read_token(directory, token, token_file)
    except TokenError as error:
        yield str(error)
        return
    if secret is None and not listen.local:
        yield (
            f'listen: "{listen}" is open to other hosts, and there is no token that they must'
            ' have; write it into a file, and the name of that as token_file = "management.token"'
        )
