"""Whom a user knows in a room, and whom a name means.

Known are those whom the roster has, and, since a room need not tell who is in it, those who were
heard: by what they said, by typing, and by what the room told of them when they came, went or took
a nickname.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from attrs import define

from msrpconf.client.message import Person, identity

MAX_PEOPLE = 1000
"""People who are remembered; of more, those go who were heard longest ago."""


_OF_OTHERS = {
    " has joined": "joined",
    " has left": "left",
    " has no voice any more": "muted",
    " has a voice again": "unmuted",
}
_OF_ME = {
    " has taken your voice: what you say is not sent": "muted",
    " has given you a voice again": "unmuted",
}
"""How a room's texts end, and what they tell."""


class UnknownPerson(Exception):
    """A name that means nobody, or several. The text says so."""


@define
class _Known:
    """One user: the name in the room, and the one that the user's client gives."""

    uri: str
    nickname: str | None = None
    name: str | None = None

    @property
    def person(self) -> Person:
        return Person(self.uri, self.nickname or self.name)

    @property
    def names(self) -> list[str]:
        """What the user can be called by, besides the address."""
        user = _address(self.uri).partition("@")[0]
        return [each for each in (self.nickname, self.name, user) if each]


class People:
    """The people of one room; `me` is the user's own URI, which is none of them."""

    def __init__(self, me: str) -> None:
        self._my_uri = me
        self._me = identity(me)
        self._known: dict[str, _Known] = {}

    def __iter__(self) -> Iterator[Person]:
        return iter([each.person for each in self._known.values()])

    def __len__(self) -> int:
        return len(self._known)

    def heard(self, person: Person) -> None:
        """Somebody was heard."""
        known = self._know(person.uri)
        if known is not None and person.name:
            known.name = person.name

    def met(self, uri: str, nickname: str | None, name: str | None) -> None:
        """Somebody is in the room, and is called so."""
        known = self._know(uri)
        if known is not None:
            known.nickname, known.name = nickname or known.nickname, name or known.name

    def gone(self, uri: str) -> None:
        """Somebody is not in the room any more."""
        self._known.pop(identity(uri), None)

    def told(self, text: str) -> tuple[str, str] | None:
        """The room said something, perhaps of what has happened to somebody.

        If so, gives which of it, ``joined``, ``left``, ``named``, ``muted`` or ``unmuted``, and the
        URI of whom.
        """
        for end, what in _OF_ME.items():
            if text.endswith(end):
                return what, self._my_uri
        end = next((each for each in _OF_OTHERS if text.endswith(each)), "")
        what = _OF_OTHERS.get(end, "named")
        user = _labelled(text.removesuffix(end) if end else text.partition(" is now ")[2])
        if user is None:
            return None
        if what == "left":
            self.gone(user.uri)
        elif (known := self._know(user.uri)) is not None:
            known.nickname = user.name
        return what, user.uri

    def named(self, text: str) -> Person:
        """Whom a nickname, a name, an address or the part before its @ means.

        An address need not be known. Raises `UnknownPerson`.
        """
        if "@" in text or text[:4].lower() == "tel:":
            uri = text if ":" in text.partition("@")[0] else f"sip:{text}"
            known = self._known.get(identity(uri))
            return Person(uri) if known is None else known.person
        wanted = _folded(text)
        found = [
            each
            for each in self._known.values()
            if any(_folded(name) == wanted for name in each.names)
        ]
        if not found:
            raise UnknownPerson(
                f"Nobody called {text} is here, as far as is known; /who shows who is. "
                "Anybody else is named by the address, such as bob@example.com"
            )
        if len(found) > 1:
            addresses = " or ".join(_address(each.uri) for each in found[:10])
            raise UnknownPerson(f"{text} may be {addresses}: name one by the address")
        return found[0].person

    def names(self) -> list[str]:
        """What people can be called by, where one word is enough."""
        names = {name: None for each in self._known.values() for name in each.names}
        return sorted(name for name in names if name.isprintable() and " " not in name)

    def _know(self, uri: str) -> _Known | None:
        key = identity(uri)
        if key == self._me:
            return None
        known = self._known.pop(key, None) or _Known(uri)
        self._known[key] = known
        if len(self._known) > MAX_PEOPLE:
            del self._known[next(iter(self._known))]
        return known


def _labelled(label: str) -> Person | None:
    """Whom a room's text names: ``bob@example.com`` or ``Bob <bob@example.com>``."""
    name, bracket, address = label.rpartition(" <")
    if bracket:
        if not address.endswith(">"):
            return None
        address = address[:-1]
    if "@" not in address or any(char.isspace() or char in "<>" for char in address):
        return None
    return Person(f"sip:{address}", name or None)


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _address(uri: str) -> str:
    return identity(uri).partition(":")[2]
