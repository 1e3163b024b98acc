"""One room at a terminal: what is shown of it, and what the user can name there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from msrpconf.client.chat import Chat
from msrpconf.client.consoles import Console
from msrpconf.client.message import Message, Person
from msrpconf.client.people import People
from msrpconf.client.rendering import Rendering
from msrpconf.conference.file_notice import readable_size
from msrpconf.protocols.sdp_file import FileSelector
from msrpconf.visible import visible

MAX_FILES = 100
"""Files that are remembered; of more, the oldest go."""

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
    ) -> None:
        self.room = room
        self.nickname = ""
        self.view = Rendering(room, user, name)
        self.people = People(user)
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
        }

    def _said(self, message: Message) -> None:
        if not self.view.is_room(message.sender):
            self.people.heard(message.person)
        fragments = self.view.message(message)
        if fragments is not None:
            self._console.show(fragments)

    def _told(self, message: Message) -> None:
        if message.kind == "status":
            self.people.told(message.text.removeprefix("*** "))
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
        """Those whom one can name, for people to read."""
        if not len(self.people):
            return "Nobody was heard here yet. Whoever is silent is not known by this client."
        lines = []
        for person in self.people:
            lines.append(str(person))
        return "\n".join(["Heard since you came (others may be here and silent):", *lines])

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
