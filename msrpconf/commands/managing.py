"""What the commands that manage a server share: asking it, and showing what it answers."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click
from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text

from msrpconf.visible import visible

DEFAULT_URL = "http://127.0.0.1:8080"

TIMEOUT = 30.0
"""Seconds that the server may take to answer."""

PAGE = 1000
"""Items that are asked for at once, which is the most."""

WIDTH = 120
"""Columns of a table that goes into a file or a pipe."""

_OPTIONS: tuple[Callable[[Callable[..., None]], Callable[..., None]], ...] = (
    click.option(
        "--url",
        envvar="MSRPCONF_URL",
        default=DEFAULT_URL,
        metavar="URL",
        help="Where the server is managed: http://HOST:PORT, https://HOST, or unix:/PATH. "
        f"[env: MSRPCONF_URL; default: {DEFAULT_URL}]",
    ),
    click.option(
        "--token",
        envvar="MSRPCONF_TOKEN",
        metavar="TOKEN",
        help="The token of [management], where it has one. Others on this machine can see "
        "what is typed here: better in MSRPCONF_TOKEN, or in a file.",
    ),
    click.option(
        "--token-file",
        envvar="MSRPCONF_TOKEN_FILE",
        metavar="FILE",
        help="A file with the token. [env: MSRPCONF_TOKEN_FILE]",
    ),
    click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON, for programs."),
)
# Which server, and how to show what it says: see `Server.of`.

room_argument = click.argument("room", metavar="ROOM")
user_argument = click.argument("user", metavar="USER")
deadline_option = click.option(
    "--deadline",
    type=click.IntRange(1, 31 * 86_400),
    metavar="SECONDS",
    help="After so long those who are in a room still are moved to other servers, or sent out.",
)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@frozen
class Server:
    """A server that is managed, at `url`, which must have been checked by `of`."""

    url: str
    token: str | None
    as_json: bool

    @classmethod
    def of(cls, url: str, token: str | None, token_file: str | None, as_json: bool) -> Server:
        """Reads what was typed. Raises `ClickException`, which says what is wrong."""
        if not url.startswith("unix:/"):
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise click.ClickException(
                    f"--url is written as {DEFAULT_URL} or unix:/run/msrpconf.sock,"
                    f" not {visible(url)}"
                )
        if token is None and token_file is not None:
            try:
                token = Path(token_file).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise click.ClickException(f"--token-file: {visible(str(error))}") from None
        if token is not None and not (token.isascii() and token.isprintable()):
            raise click.ClickException("a token is one line of ASCII")
        return cls(url, token, as_json)

    def ask(
        self, method: str, *path: str, body: object = None, query: dict[str, object] | None = None
    ) -> Any:
        """Ask for `path`, whose parts are as they are; the JSON of the answer, None without.

        Raises `ClickException` for what was refused, or was not answered.
        """
        target = "/" + "/".join(quote(part, safe=":@*+;=") for part in path)
        if query:
            target += "?" + urlencode({key: value for key, value in query.items() if value})
        headers = {"Accept": "application/json"}
        content = None
        if method in {"POST", "PUT", "PATCH"}:
            headers["Content-Type"] = "application/json"
            content = b"" if body is None else json.dumps(body).encode("utf-8", "replace")
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            with closing(self._connection()) as connection:
                connection.request(method, target, content, headers)
                response = connection.getresponse()
                octets = response.read()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise click.ClickException(
                f"{visible(self.url)} does not answer: {visible(why)}. Is the server running, with "
                "[management]? Where it is says --url, or MSRPCONF_URL"
            ) from None
        return self._read(response.status, octets)

    def _connection(self) -> http.client.HTTPConnection:
        if self.url.startswith("unix:"):
            return _UnixConnection(self.url.removeprefix("unix:"))
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT)
        return http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)

    def _read(self, status: int, octets: bytes) -> Any:
        try:
            document = json.loads(octets) if octets else None
        except ValueError:
            raise click.ClickException(
                f"{visible(self.url)} answers {status}, and not as msrpconf does: is it another"
                " program's address?"
            ) from None
        if status < 400:
            return document
        detail = document.get("detail", "") if isinstance(document, dict) else ""
        if status == 401:
            detail = (
                "a token is needed: write it into a file, and that into MSRPCONF_TOKEN_FILE"
                if self.token is None
                else "this token is not the one of [management]"
            )
        raise click.ClickException(visible(" ".join(str(detail or status).split())))

    def pages(self, name: str, *path: str, **query: object) -> Iterator[dict[str, Any]]:
        """The items of a list, from all its pages."""
        after = None
        while True:
            page = self.ask("GET", *path, query={**query, "limit": PAGE, "after": after})
            yield from page[name]
            after = page["next"]
            if after is None:
                return

    def show(self, document: object, text: str | Table | Iterable[str]) -> None:
        """Print `document` as JSON where that is wanted, else what is for people."""
        if self.as_json:
            click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        elif isinstance(text, Table):
            console().print(text)
        else:
            lines = [text] if isinstance(text, str) else text
            for line in lines:
                click.echo(visible(line))


def managed(command: Callable[..., None]) -> Callable[..., None]:
    """Gives `command` a `Server` as its first argument, from the options that say which."""

    def run(
        url: str, token: str | None, token_file: str | None, as_json: bool, **arguments: Any
    ) -> None:
        command(Server.of(url, token, token_file, as_json), **arguments)

    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    for add in reversed(_OPTIONS):
        run = add(run)
    return run


def console() -> Console:
    """Where tables go."""
    shown = Console()
    return shown if shown.is_terminal else Console(width=WIDTH)


def table(*columns: str, numbers: Iterable[str] = ()) -> Table:
    """A table without lines, which also fits into a pipe; `numbers` are columns of them."""
    right = set(numbers)
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def row(made: Table, *values: object) -> None:
    """Add a row; what others wrote is shown as text, whatever it is."""
    made.add_row(*(Text(visible(str(value))) for value in values))


def yes_or_no(value: bool) -> str:
    """For a table."""
    return "yes" if value else ""


def people(count: int) -> str:
    """``1 person`` or ``2 people``."""
    return "1 person" if count == 1 else f"{count} people"


def confirm(yes: bool, what: str) -> None:
    """Ask before something that cannot be taken back, unless `yes` was said."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.ClickException(f"{what}: say --yes if you mean it")
    click.confirm(f"{what}. Do you mean it?", abort=True, err=True)
