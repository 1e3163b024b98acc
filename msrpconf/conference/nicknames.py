"""Nicknames of one room: who is known by which (RFC 7701 §7, RFC 8266).

A nickname belongs to a user, who may use it on several devices, and to nobody else
while any of them does. Two nicknames are the same if RFC 8266 says so: ``Alice`` and
``alice`` are. When its user leaves, a nickname is kept for that user for a while, so
that a lost connection does not lose the name and nobody slips into it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

from attrs import frozen
from precis_i18n import get_profile
from twisted.internet.interfaces import IReactorTime

from msrpconf.conference.settings import RESERVED_NICKNAMES
from msrpconf.protocols.msrp.session import Refusal

MAX_OCTETS = 1023
"""Octets that a nickname may have (RFC 7701 §7.1)."""

MAX_KEPT = 10000
"""Nicknames of users who have left that one room keeps; the oldest go first."""

_PREPARED = get_profile("NicknameCasePreserved")
_COMPARED = get_profile("NicknameCaseMapped")


@frozen
class Nickname:
    """A nickname: `text` as it is shown, `key` as it is compared (RFC 8266 §2)."""

    text: str
    key: str

    @classmethod
    def prepare(cls, text: str) -> Nickname:
        """Bring a nickname into its form. Raises `ValueError` for what can be none."""
        prepared = _PREPARED.enforce(text)
        if len(prepared.encode("utf-8")) > MAX_OCTETS:
            # There are characters that become eighteen.
            raise ValueError(f"longer than {MAX_OCTETS} octets in its compatible form")
        # What is shown the same is the same: the profile alone is not idempotent (§2.1).
        return cls(prepared, _COMPARED.enforce(prepared))


@frozen
class _Kept:
    """A nickname that waits for its user."""

    nickname: Nickname
    user: str
    until: float


class Nicknames:
    """Who in a room has which nickname.

    A device is whatever stands for one session, a user the key that identifies
    them. `reserved` are words that nobody gets; `quarantine` is for how many
    seconds a nickname is kept for who has left.
    """

    def __init__(
        self,
        clock: IReactorTime,
        reserved: Iterable[str] = RESERVED_NICKNAMES,
        quarantine: float = 300.0,
    ) -> None:
        self._clock = clock
        self.configure(reserved, quarantine)
        self._used: dict[Hashable, Nickname] = {}
        self._owners: dict[str, tuple[str, int]] = {}
        # By user, the oldest first, and the users by the nickname's key.
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._keepers: dict[str, str] = {}

    def configure(self, reserved: Iterable[str], quarantine: float) -> None:
        """Reserve those words, and keep nicknames so long, from now on."""
        self._quarantine = quarantine
        self._reserved = {Nickname.prepare(word).key for word in reserved}

    def of(self, device: Hashable) -> str | None:
        """The nickname that is in use on a device."""
        nickname = self._used.get(device)
        return None if nickname is None else nickname.text

    def use(
        self,
        device: Hashable,
        user: str,
        value: bytes,
        is_taken: Callable[[Nickname, str], bool] = lambda nickname, user: False,
    ) -> Refusal | None:
        """Serve a NICKNAME request, `value` being its Use-Nickname as received.

        An empty nickname gives up the one in use (§7.3). A refusal (424, 425)
        leaves it in effect (§7.2). `is_taken` may refuse a nickname to a user for
        reasons of its own.
        """
        try:
            text = read_use_nickname(value)
            nickname = Nickname.prepare(text) if text else None
        except ValueError as error:
            return Refusal(424, f"not a nickname: {error}")
        if nickname is None:
            self._release(device)
            return None
        if nickname.key in self._reserved:
            return Refusal(425, "this nickname is reserved: choose another")
        owner = self._owner(nickname.key)
        if (owner is not None and owner != user) or is_taken(nickname, user):
            return Refusal(425, "this nickname is somebody else's: choose another")
        self._release(device)
        self._take(device, user, nickname)
        return None

    def restore(self, device: Hashable, user: str, text: str) -> None:
        """Give a device the nickname that was in use on it on another server.

        Not one that is somebody else's here, nor one that can be none any more.
        """
        try:
            nickname = Nickname.prepare(text)
        except ValueError:
            return
        if self._owner(nickname.key) in {None, user} and nickname.key not in self._reserved:
            self._release(device)
            self._take(device, user, nickname)

    def left(self, device: Hashable, user: str) -> None:
        """A device is gone: its nickname is kept for the user for a while."""
        nickname = self._release(device)
        if nickname is None or nickname.key in self._owners:
            return
        self._forget(user)
        now = self._clock.seconds()
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if len(self._kept) < MAX_KEPT and oldest.until > now:
                break
            self._forget(oldest.user)
        self._kept[user] = _Kept(nickname, user, now + self._quarantine)
        self._keepers[nickname.key] = user

    def returned(self, device: Hashable, user: str) -> str | None:
        """A user is back: give the nickname that was kept, if any."""
        kept = self._forget(user)
        if kept is None or kept.until <= self._clock.seconds():
            return None
        self._take(device, user, kept.nickname)
        return kept.nickname.text

    def _owner(self, key: str) -> str | None:
        owner = self._owners.get(key)
        if owner is not None:
            return owner[0]
        keeper = self._keepers.get(key)
        if keeper is not None and self._kept[keeper].until <= self._clock.seconds():
            self._forget(keeper)
            return None
        return keeper

    def _take(self, device: Hashable, user: str, nickname: Nickname) -> None:
        self._used[device] = nickname
        _, devices = self._owners.get(nickname.key, (user, 0))
        self._owners[nickname.key] = (user, devices + 1)
        self._forget(user)

    def _forget(self, user: str) -> _Kept | None:
        """Keep a nickname no longer for who has left."""
        kept = self._kept.pop(user, None)
        if kept is not None:
            del self._keepers[kept.nickname.key]
        return kept

    def _release(self, device: Hashable) -> Nickname | None:
        nickname = self._used.pop(device, None)
        if nickname is not None:
            user, devices = self._owners[nickname.key]
            if devices > 1:
                self._owners[nickname.key] = (user, devices - 1)
            else:
                del self._owners[nickname.key]
        return nickname


def read_use_nickname(value: bytes) -> str:
    """The nickname in a Use-Nickname header, quoted (§7.1) or, as some clients have it, bare.

    Raises `ValueError` that says what is wrong.
    """
    text = value.decode("utf-8")
    if not text.startswith('"'):
        if not text or '"' in text:
            raise ValueError("expected a quoted string")
        inner = text
    else:
        inner = _unquote(text)
    if len(inner.encode("utf-8")) > MAX_OCTETS:
        raise ValueError(f"longer than {MAX_OCTETS} octets")
    return inner


def _unquote(text: str) -> str:
    if len(text) < 2 or not text.endswith('"'):
        raise ValueError("the closing quote is missing")
    result = []
    characters = iter(text[1:-1])
    for character in characters:
        if character == '"':
            raise ValueError("a quote inside needs a backslash")
        if character == "\\":
            character = next(characters, "")
            if character not in ("\\", '"'):
                raise ValueError("a backslash stands before a quote or a backslash only")
        result.append(character)
    return "".join(result)
