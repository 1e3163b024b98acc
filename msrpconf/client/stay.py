"""One room at a terminal: what is shown of it, and what the user can name there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from msrpconf.client.chat import Chat
from msrpconf.client.consoles import Console
from msrpconf.client.message import Message, Person
from msrpconf.client.people import MAX_PEOPLE, People
from msrpconf.client.rendering import Fragments, Rendering
from msrpconf.client.room_events import Happening, RoomEvent
from msrpconf.client.roster_lines import RosterLines
from msrpconf.client.roster_view import RosterView
from msrpconf.client.watching import Watch, WatchState
from msrpconf.conference.file_notice import readable_size
from msrpconf.protocols.sdp_file import FileSelector
from msrpconf.visible import visible

MAX_FILES = 100
"""Files that are remembered; of more, the oldest go."""

MAX_SUBJECT = 40
"""Characters of a subject that are always shown."""

MAX_TYPING = 3
"""People whose typing is shown by name."""


class Stay:
    """A room from when one asks to be let in until one leaves.

    `changed` is called when there is something new for the `activity`, `ended` when the room
    has ended. `chat` is there once one is in.
    """

    chat: Chat

    def __init__(
        self,
        room: str,
        user: str,
        name: str | None,
        console: Console,
        changed: Callable[[], None],
        ended: Callable[[Stay, str], None],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.room = room
        self.nickname = ""
        self.view = Rendering(room, user, name)
        self.people = People(user)
        self.roster_view = RosterView(self.view.label, user)
        self._watch: Watch | None = None
        self._lines = RosterLines(self.roster_view, user, seconds)
        self._console = console
        self._changed = changed
        self._ended = ended
        self._files: deque[FileSelector] = deque(maxlen=MAX_FILES)
        self._typing: dict[str, Person] = {}

    @property
    def listening(self) -> dict[str, Any]:
        """What to join the room with: see `Listener`."""
        return {
            "on_message": self._said,
            "on_notice": self._told,
            "on_ended": lambda why: self._ended(self, why),
            "on_typing": self._types,
            "on_file": self._file_offered,
            "on_events": self._happened,
        }

    def _said(self, message: Message) -> None:
        if not self.view.is_room(message.sender):
            self.people.heard(message.person)
        fragments = self.view.message(message)
        if fragments is not None:
            self._console.show(fragments)

    def _told(self, message: Message) -> None:
        if message.kind == "status":
            told = self.people.told(message.text.removeprefix("*** "))
            if told is not None and not self._lines.noticed(*told):
                return
        elif not self.view.is_room(message.sender):
            self.people.heard(message.person)
        fragments = self.view.message(message)
        if fragments is not None:
            self._console.show(fragments)

    def _types(self, person: Person, active: bool) -> None:
        if active:
            self.people.heard(person)
            self._typing[person.key] = person
        else:
            self._typing.pop(person.key, None)
        self._changed()

    def _happened(self, watch: Watch, events: list[RoomEvent]) -> None:
        self._watch = watch
        for event in events:
            if event.what is Happening.STATE:
                for user in watch.roster.present[:MAX_PEOPLE]:
                    self.people.met(user.entity, user.nickname, user.display_text)
            elif event.user is not None and event.what is Happening.LEFT:
                self.people.gone(event.user.entity)
            elif event.user is not None:
                user = event.user
                self.people.met(user.entity, user.nickname, user.display_text)
        for line in self._lines.lines(watch, events, self._console.has_panel):
            self._console.notice(self.view.told(line))
        self._console.panel(self.panel)
        self._changed()

    def panel(self) -> list[Fragments]:
        """Who is in the room, as `RosterView.panel` has it; nothing where that is not known."""
        watch = self._watch
        if watch is None or not watch.roster.told or watch.state is WatchState.OVER:
            return []
        return self.roster_view.panel(watch.roster)

    def _file_offered(self, message: Message) -> None:
        assert message.file is not None
        if message.file in self._files:
            self._files.remove(message.file)
        self._files.append(message.file)
        # What the room says of how to fetch it is for people who have other clients.
        text, said, _ = message.text.partition(" To fetch it, ")
        if said:
            text += f" /get {len(self._files)} fetches it."
        self._console.show(self.view.told(text))

    @property
    def about(self) -> str:
        """The subject of the room, and how many are in it where no panel shows that."""
        if self._watch is None or not self._watch.roster.told:
            return ""
        roster = self._watch.roster
        subject = " ".join((roster.description.subject or "").split())
        if len(subject) > MAX_SUBJECT:
            subject = f"{subject[: MAX_SUBJECT - 3]}..."
        count = len(roster.present) if roster.tells_users else roster.state.user_count
        here = "" if count is None or self._console.has_panel else f"{count} here"
        return "  |  ".join(part for part in (subject, here) if part)

    @property
    def activity(self) -> str:
        """Who is typing; empty if nobody is."""
        names = [self.view.label(person) for person in self._typing.values()]
        if not names:
            return ""
        if len(names) > MAX_TYPING:
            return f"{len(names)} people are typing..."
        *others, last = names
        return f"{', '.join(others)} and {last} are typing..." if others else f"{last} is typing..."

    def who(self) -> str:
        """Who is in the room, or else those who were heard, for people to read."""
        watch = self._watch
        if watch is not None and watch.roster.told:
            return self.roster_view.who(watch)
        if watch is not None and watch.error is not None:
            lines = [f"The room does not tell who is here ({visible(str(watch.error))})."]
        elif watch is not None and watch.state is WatchState.PENDING:
            lines = ["An owner of the room has yet to let you see who is here."]
        else:
            lines = ["The room has not told yet who is here."]
        if not len(self.people):
            return "\n".join([*lines, "Nobody was heard here yet."])
        lines.append("Heard since you came (others may be here and silent):")
        return "\n".join([*lines, *(f"  {person}" for person in self.people)])

    def files(self) -> str:
        """The files that one was told of, for people to read."""
        if not self._files:
            return "You were told of no file here."
        lines = [
            f"{number}  {visible(file.name or 'a file')}"
            f"  {'' if file.size is None else readable_size(file.size)}  {file.media_type or ''}"
            for number, file in enumerate(self._files, 1)
        ]
        return "\n".join(lines)

    def file(self, text: str) -> FileSelector | None:
        """The file of that name, the newest of several, or of that number in the list."""
        for file in reversed(self._files):
            if file.name == text:
                return file
        if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= len(self._files):
            return self._files[int(text[:9]) - 1]
        return None

    def file_names(self) -> list[str]:
        """The names of files that one was told of."""
        return [file.name for file in self._files if file.name and file.name.isprintable()]
