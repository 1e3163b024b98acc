"""`msrpconf demo`: a server and three people in one room, as each of them sees it."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from twisted.internet.defer import Deferred, DeferredList, TimeoutError, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import Chat, JoinError, Message, SendError, UserAgent
from msrpconf.client.consoles import silence
from msrpconf.client.rendering import INDENT, STYLES, Fragments, Rendering
from msrpconf.commands.running import run
from msrpconf.config import Config, ServerConfig, SipConfig
from msrpconf.programs import program
from msrpconf.protocols.sip.flow import Address
from msrpconf.services.compose import make_service

STEP = 0.25
"""Seconds between two steps, so that one can follow them."""

PATIENCE = 3.0
"""Seconds for what is said to be heard."""

MAX_WIDTH = 110
"""Columns of a terminal that are used."""

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 800
"""As large as a picture is; it goes in pieces."""

Column = tuple[str, str | None, bool]

PEOPLE: list[Column] = [("alice", "Alice", False), ("bob", None, True), ("carol", "Carol", False)]
"""User, name and whether the client is one for plain text only."""


@click.command()
def demo() -> None:
    """Show a room with three people in it, as each of them sees it.

    The server runs in this process, on free ports of 127.0.0.1, and ends with
    the demonstration.
    """
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    run(lambda reactor: Demo(reactor, Stage(DemoConsole())).run())


class DemoConsole(Console):
    """A console that goes on in silence where nobody reads any more: `msrpconf demo | head`."""

    def on_broken_pipe(self) -> None:
        """From rich, which ends the process here, before anybody has left the room."""
        self.quiet = True
        silence(sys.stdout)


class Stage:
    """Three columns on a console, one row after the other: in a log they stay readable."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, MAX_WIDTH)

    def open(self, titles: Iterable[str]) -> None:
        """The heads of the columns."""
        self._console.print(self._table(titles, header=True))

    def row(self, cells: list[Text]) -> None:
        """What each one sees of one step."""
        table = self._table([""] * len(cells), header=False)
        table.add_row(*cells)
        self._console.print(table)

    def line(self, text: str) -> None:
        """A line across all columns."""
        self._console.print(text, style="bright_black", highlight=False, markup=False)

    def _table(self, titles: Iterable[str], *, header: bool) -> Table:
        table = Table(box=box.MINIMAL, show_edge=False, show_header=header, width=self._width)
        for title in titles:
            table.add_column(title, ratio=1, overflow="fold")
        return table


class Person:
    """Somebody in the room, and what is to be seen in his column."""

    def __init__(self, reactor: Any, room: str, column: Column) -> None:
        user, name, plain = column
        self.name = name or user
        address = f"sip:{user}@127.0.0.1"
        self.title = f"{name or user} ({'plain text only' if plain else 'message/cpim'})"
        self.agent = UserAgent(reactor, address, display_name=name, plain=plain)
        self.view = Rendering(room, address, name)
        self.chat: Chat | None = None
        self.seen: list[Fragments] = []
        self._hearing: Deferred[None] | None = None

    def see(self, fragments: Fragments | None) -> None:
        """Something for the column; the time, which is the same for all, is left out."""
        if fragments is not None:
            # The column is narrow.
            self.seen.append(
                [
                    (style, text.replace(INDENT, "  "))
                    for style, text in fragments
                    if style != "class:time"
                ]
            )

    def heard(self, message: Message) -> None:
        """A message of somebody else's is here."""
        self.see(self.view.message(message))
        if self._hearing is not None:
            hearing, self._hearing = self._hearing, None
            hearing.callback(None)

    def hears(self) -> Deferred[None]:
        """Done at the next message."""
        self._hearing = Deferred()
        return self._hearing

    def cell(self) -> Text:
        """What has been seen since the last time."""
        seen, self.seen = self.seen, []
        text = Text()
        for number, fragments in enumerate(seen):
            text.append("\n" if number else "")
            for style, part in fragments:
                text.append(part, _rich_style(style))
        return text


class Demo:
    """The play: it fails with a `ClickException` if anything is not as it should be."""

    def __init__(self, reactor: Any, stage: Stage) -> None:
        self._reactor = reactor
        self._stage = stage
        self._cast: list[Person] = []

    @inlineCallbacks
    def run(self) -> Generator[Deferred[Any], Any, None]:
        """From the start of the server to its end."""
        server = make_service(
            Config(
                sip=SipConfig(listen=(Address("udp", "127.0.0.1", 0),)),
                server=ServerConfig(listen=(Address("tcp", "127.0.0.1", 0),)),
                # Nobody manages it, so it takes no port for that.
                written=frozenset({"focus", "server"}),
            ),
            self._reactor,
        )
        yield server.startService()
        try:
            sip = Address.parse(server.listening[0].removeprefix("sip "))
            room = f"sip:lobby@{sip.sent_by}"
            self._cast = [Person(self._reactor, room, column) for column in PEOPLE]
            self._stage.line(f"A server is running: {', '.join(server.listening)}")
            self._stage.line(f"In the room {room}, as each of three people sees it:")
            self._stage.open(person.title for person in self._cast)
            yield self._play(room)
        except (JoinError, SendError) as error:
            raise click.ClickException(f"the demonstration has failed: {error}") from None
        finally:
            stopping = [
                person.agent.stop().addTimeout(PATIENCE, self._reactor) for person in self._cast
            ]
            yield DeferredList(stopping, consumeErrors=True)
            yield server.stopService()
        self._stage.line("The room has ended with its last participant.")
        self._stage.line(f"Your own: {program('twistd')} -n msrpconf, and in another terminal")
        self._stage.line(f"          {program('msrpconf')} chat sip:lobby@127.0.0.1 --as alice")

    @inlineCallbacks
    def _play(self, room: str) -> Generator[Deferred[Any], Any, None]:
        alice, bob, carol = self._cast
        yield self._joins(alice, room, "joins, and the room begins", [])
        yield self._joins(bob, room, "joins", [alice])
        yield self._joins(carol, room, "joins", [alice, bob])
        yield self._says(alice, "Hello, you two!", [bob, carol])
        yield self._says(
            bob, "Hi. My client knows plain text only, so I get names as text.", [alice, carol]
        )
        yield self._says(
            carol, "Grüße, привет, 你好 🎉\nAny script, any number of lines.", [alice, bob]
        )
        yield self._sends_a_picture(carol, [alice])
        yield self._says(alice, "\x1b[2J does nothing on your screens.", [bob, carol])
        yield self._whispers(alice, carol, "Only you can read this.")
        yield self._takes_a_nickname(carol, "Cara", [alice, bob])
        yield self._leaves(bob, [alice, carol])
        yield self._says(carol, "Bye, bob. Anybody left?", [alice])
        yield self._leaves(carol, [alice])
        yield self._leaves(alice, [])

    @inlineCallbacks
    def _joins(
        self, person: Person, room: str, what: str, listeners: list[Person]
    ) -> Generator[Deferred[Any], Any, None]:
        person.see(person.view.notice(what))
        joining = person.agent.join(room, on_message=person.heard, on_notice=person.heard)

        def joined(chat: Chat) -> None:
            person.chat = chat

        yield self._goes(joining.addCallback(joined), person, listeners)

    def _says(self, speaker: Person, text: str, listeners: list[Person]) -> Deferred[None]:
        assert speaker.chat is not None
        speaker.see(speaker.view.own(text))
        return self._goes(speaker.chat.send(text), speaker, listeners)

    def _whispers(self, speaker: Person, listener: Person, text: str) -> Deferred[None]:
        assert speaker.chat is not None
        speaker.see(speaker.view.own(text, listener.name))
        return self._goes(speaker.chat.send_private(listener.agent.user, text), speaker, [listener])

    def _takes_a_nickname(
        self, person: Person, nickname: str, listeners: list[Person]
    ) -> Deferred[None]:
        assert person.chat is not None
        person.view.rename(nickname)
        person.see(person.view.notice(f"is called {nickname} from now on"))
        return self._goes(person.chat.use_nickname(nickname), person, listeners)

    def _sends_a_picture(self, speaker: Person, listeners: list[Person]) -> Deferred[None]:
        assert speaker.chat is not None
        speaker.see(speaker.view.notice("sends a picture, to who can take one"))
        sending = speaker.chat.send_content("image/png", PICTURE)
        return self._goes(sending, speaker, listeners)

    @inlineCallbacks
    def _goes(
        self, sending: Deferred[Any], speaker: Person, listeners: list[Person]
    ) -> Generator[Deferred[Any], Any, None]:
        """What is sent is answered, and heard by `listeners`."""
        hearing = [person.hears().addTimeout(PATIENCE, self._reactor) for person in listeners]
        sending.addTimeout(PATIENCE, self._reactor)
        outcomes = yield DeferredList([sending, *hearing], consumeErrors=True)
        for (success, outcome), person in zip(outcomes, [speaker, *listeners], strict=True):
            if success:
                continue
            if outcome.check(TimeoutError):
                what = "had no answer" if person is speaker else "has heard nothing"
                raise click.ClickException(f"{person.title} {what} for {PATIENCE:.0f} seconds")
            outcome.raiseException()
        yield self._show()

    def _leaves(self, person: Person, listeners: list[Person]) -> Deferred[None]:
        assert person.chat is not None
        person.see(person.view.notice("leaves"))
        return self._goes(person.chat.leave(), person, listeners)

    def _show(self) -> Deferred[None]:
        self._stage.row([person.cell() for person in self._cast])
        return deferLater(self._reactor, STEP, lambda: None)


def _rich_style(style: str) -> str:
    """What a style of `Rendering` is called by rich."""
    colour = STYLES.get(style.removeprefix("class:"), "")
    return colour.replace("ansibright", "bright_").replace("ansi", "")
