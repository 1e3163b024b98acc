"""`msrpconf user`: the users whom the focus asks for their passwords, in the database."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any

import click
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.commands.running import run
from msrpconf.config import Config, ConfigError
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.subscribers import NoSuchUser, SubscriberStore, User, UserExists
from msrpconf.visible import visible

MAX_PASSWORD = 1000
"""Characters of a password."""


@click.group(short_help="Users and passwords, where a server asks.")
@click.option(
    "--config",
    "-c",
    metavar="FILE",
    required=True,
    envvar="MSRPCONF_CONFIG",
    help="The server's configuration, which says where the database is.",
)
@click.pass_context
def user(context: click.Context, config: str) -> None:
    """Add users and change their passwords, where the server asks for them itself.

    They are in the table `subscriber` of [database]. A server that is running knows at once.
    USER is name@domain; the domain is [sip] realm. A password is asked for, or read from
    standard input where that is no terminal.
    """
    context.obj = config


@user.command()
@click.argument("name", metavar="USER")
@click.pass_obj
def add(config: str, name: str) -> None:
    """Add a user."""
    added = _user(config, name)
    password = _password(added)
    _do(config, lambda store: store.add(added, password))
    click.echo(f"{added} is a user now")


@user.command()
@click.argument("name", metavar="USER")
@click.pass_obj
def passwd(config: str, name: str) -> None:
    """Give a user another password."""
    changed = _user(config, name)
    password = _password(changed)
    _do(config, lambda store: store.change(changed, password))
    click.echo(f"{changed} has another password now")


@user.command(name="list")
@click.argument("domain", required=False)
@click.pass_obj
def list_(config: str, domain: str | None) -> None:
    """List the users, all or those of one DOMAIN."""
    for each in _do(config, lambda store: store.users(domain)):
        click.echo(visible(str(each)))


@user.command()
@click.argument("name", metavar="USER")
@click.pass_obj
def delete(config: str, name: str) -> None:
    """Take a user out. Who is in a room stays there."""
    gone = _user(config, name)
    _do(config, lambda store: store.remove(gone))
    click.echo(f"{gone} is no user any more")


def _user(config: str, name: str) -> User:
    try:
        found = User.parse(name)
    except ValueError as error:
        raise click.ClickException(f"{error}, such as alice@example.com") from None
    realm = _load(config).sip.realm
    if realm is not None and found.domain != realm:
        raise click.ClickException(f"users are NAME@{realm}, by [sip] realm of {config}")
    return found


def _password(of: User) -> str:
    if sys.stdin.isatty():
        text: str = click.prompt(f"Password of {of}", hide_input=True, confirmation_prompt=True)
    else:
        text = sys.stdin.readline(MAX_PASSWORD + 2).rstrip("\n")
    if not 0 < len(text) <= MAX_PASSWORD:
        raise click.ClickException(f"a password has 1 to {MAX_PASSWORD} characters")
    return text


def _load(path: str) -> Config:
    try:
        return Config.load(path)
    except ConfigError as error:
        raise click.ClickException(visible(str(error))) from None


def _do(path: str, work: Callable[[SubscriberStore], Deferred[Any]]) -> Any:
    url = _load(path).database_url
    if url is None:
        raise click.ClickException(f"{path} has no table [database], where the users would be")

    @inlineCallbacks
    def connected(reactor: Any) -> Generator[Deferred[Any], Any, Any]:
        database = Database(url, reactor)
        try:
            yield database.start()
            result = yield work(SubscriberStore(database))
        except (DatabaseError, NoSuchUser, UserExists) as error:
            raise click.ClickException(visible(str(error))) from None
        finally:
            yield database.stop()
        return result

    return run(connected)
