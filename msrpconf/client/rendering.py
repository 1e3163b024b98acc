"""What a chat looks like on a terminal, as text in styles; knows no terminal.

All of it that others have written is made visible first: no control character of theirs is in
what comes out, and no line of theirs looks like the beginning of somebody else's message.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from zlib import crc32

from msrpconf.client.message import Message, Person, identity
from msrpconf.visible import visible, visible_lines

Fragments = list[tuple[str, str]]
"""Styles, as prompt_toolkit names them, and the text that has them."""

NAME_COLOURS = ("ansicyan", "ansigreen", "ansimagenta", "ansiyellow", "ansiblue", "ansired")
"""The colours of names: those that can be read on light and on dark."""

STYLES = {
    "time": "ansibrightblack",
    "notice": "ansibrightblack",
    "history": "ansibrightblack",
    "private": "ansimagenta",
    "error": "ansired",
    "me": "bold",
    "panel-title": "ansibrightblack",
    "panel-mark": "ansibrightblack",
    "panel-away": "ansibrightblack",
    "bottom-toolbar": "noreverse ansibrightblack",
    **{f"name-{number}": f"bold {colour}" for number, colour in enumerate(NAME_COLOURS)},
}
"""How each style class looks."""

MAX_CHARACTERS = 10000
"""Characters of one message that are shown."""

MAX_LINES = 100
"""Lines of one message that are shown."""

MAX_NAME = 40
"""Characters of a name that are shown."""

MAX_NAMES = 10000
"""Names that we know the owners of at a time."""

INDENT = " " * 6
"""Before all lines of a message but the first."""

HISTORY = timedelta(minutes=1)
"""A message that was said longer ago is shown with the time when it was said."""

_NOT_SHOWN = frozenset({"application/im-iscomposing+xml", "message/imdn+xml"})

# A name that is made of anything else could look like an address, or like a name and a text.
_NAME_CATEGORIES = frozenset({"So"})
_NAME_PUNCTUATION = frozenset(" .'’_-")


class Names:
    """What the people of a room are called on the screen.

    A name is what somebody says of himself. The first to be called by it here has it; others who
    use it too, and names that look like more than a name, are shown with the address, which the
    server vouches for. `host` is the room's: its users are shown without it.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._owners: dict[str, str] = {}

    def label(self, uri: str, name: str | None) -> str:
        """What to call the user at `uri`, who calls himself `name`, if anything."""
        address = _address(uri)
        shown = visible(" ".join((name or "").split()))[:MAX_NAME]
        if not shown:
            shown = address.removesuffix(f"@{self._host}")
        elif not _is_plain(shown):
            return f"{shown} <{address}>"
        return shown if self._is_owner(shown, identity(uri)) else f"{shown} <{address}>"

    def _is_owner(self, shown: str, key: str) -> bool:
        """Whether it is `key` whom we call `shown`, from now on if it was nobody."""
        name = unicodedata.normalize("NFKC", shown).casefold()
        if name not in self._owners and len(self._owners) >= MAX_NAMES:
            return False
        return self._owners.setdefault(name, key) == key


class Rendering:
    """How one room's messages look to `user`, whose own name is `name`.

    `room` and `user` are URIs as text; `now` gives the local time.
    """

    def __init__(
        self,
        room: str,
        user: str,
        name: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._room = identity(room)
        self._user = identity(user)
        self._now = now
        self._names = Names(_address(room).rpartition("@")[2])
        self._me = self._names.label(user, name)

    def message(self, message: Message) -> Fragments | None:
        """A message from others; None for one that is not for people to see."""
        if message.media_type in _NOT_SHOWN:
            return None
        time = self._time(message.date_time)
        is_text = message.media_type.startswith("text/")
        if message.kind == "status" and is_text:
            return [time, ("class:notice", "* " + _body(message.text.removeprefix("*** ")))]
        mark: Fragments = []
        if identity(message.sender) == self._room:
            # The room itself speaks; or it repeats what others said, their names in the text.
            who: Fragments = []
        else:
            colour = crc32(identity(message.sender).encode("utf-8", "replace"))
            label = self._names.label(message.sender, message.name)
            who = [(f"class:name-{colour % len(NAME_COLOURS)}", label)]
            if message.is_private:
                mark = [("class:private", self._to_whom(message.to))]
        style = "class:history" if message.kind == "history" else ""
        if not is_text:
            octets = f"{len(message.body)} octet{'' if len(message.body) == 1 else 's'}"
            sent = f" sent {visible(message.media_type)[:80]}, {octets}"
            return [time, *(who or [("", "the room")]), *mark, ("class:notice", sent)]
        return [time, *who, *mark, (style, (": " if who else "") + _body(message.text))]

    def own(self, text: str, to: str | None = None) -> Fragments:
        """What we said ourselves, to all or only to somebody called `to`."""
        only = [] if to is None else [("class:private", f" (only to {visible(to)})")]
        return [self._time(None), ("class:me", self._me), *only, ("", ": " + _body(text))]

    def told(self, text: str) -> Fragments:
        """What the room tells of, in words of ours."""
        return [self._time(None), ("class:notice", "* " + _body(text))]

    def is_room(self, uri: str) -> bool:
        """Whether a URI is the room's own."""
        return identity(uri) == self._room

    def rename(self, name: str | None) -> None:
        """Call ourselves so from now on."""
        self._me = self._names.label(self._user, name)

    def label(self, person: Person) -> str:
        """What somebody is called on the screen."""
        return self._names.label(person.uri, person.name)

    def _to_whom(self, uri: str) -> str:
        if identity(uri) == self._user:
            return " (only to you)"
        # From another device of our own.
        return f" (only to {self._names.label(uri, None)})"

    def notice(self, text: str, style: str = "notice") -> Fragments:
        """What the program has to say."""
        return [(f"class:{style}", "* " + "\n  ".join(visible_lines(text)))]

    def _time(self, said: datetime | None) -> tuple[str, str]:
        """When it was said, local hours and minutes; the day too if that is another one."""
        now = time = self._now()
        if said is not None and said.tzinfo is not None and now - said > HISTORY:
            with suppress(OverflowError):
                time = said.astimezone(now.tzinfo)
        day = "" if time.date() == now.date() else f"{time:%Y-%m-%d} "
        return "class:time", f"{day}{time:%H:%M} "


def plain(fragments: Fragments) -> str:
    """The text without its styles."""
    return "".join(text for _, text in fragments)


def _address(uri: str) -> str:
    """A URI as people write it to each other: user@host."""
    # It keeps its escapes, so there is nothing in it but what an address is made of.
    return visible(identity(uri).removeprefix("sip:"))[: 2 * MAX_NAME]


def _is_plain(name: str) -> bool:
    return all(
        char in _NAME_PUNCTUATION
        or (category := unicodedata.category(char))[0] in "LMN"
        or category in _NAME_CATEGORIES
        for char in name
    )


def _body(text: str) -> str:
    """The lines of a message, all but the first indented, and how much was left out."""
    lines = visible_lines(text[:MAX_CHARACTERS])
    cut = [f"[{len(text) - MAX_CHARACTERS} more characters]"] if len(text) > MAX_CHARACTERS else []
    if len(lines) > MAX_LINES:
        cut = [f"[{len(lines) - MAX_LINES} more lines]", *cut]
    return f"\n{INDENT}".join([*lines[:MAX_LINES], *cut])
