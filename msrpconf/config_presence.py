"""`[presence]`: the presence agent of conferences."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.config_values import UnexpectedValue
from msrpconf.protocols.sip.uri import SipURI

SHORTEST_INTERVAL = 0.1
"""Seconds: what is less is no interval, and numbers of NOTIFYs would not last for a restart."""


def _interval(value: object) -> float:
    seconds = values.seconds(value)
    if seconds < SHORTEST_INTERVAL:
        raise UnexpectedValue(f"a number of seconds of {SHORTEST_INTERVAL:g} or more", value)
    return seconds


@frozen
class PresenceConfig:
    """`[presence]`: who is told of what happens in rooms, and how often.

    - `name`: what a presence agent by itself is called in the database.
    - `focus`: where one by itself sends what users publish of rooms; None for nowhere.
    - `interval`: seconds from one NOTIFY of a subscription to the next, at least.
    - `winfo_interval`: the same for who is told who watches.
    - `partial`: whether a NOTIFY says what has changed, or everything.
    - `max_octets`: octets of a document; who watches a larger room is told how many are there.
    - `expires`: seconds of a subscription or publication whose user agent does not say.
    - `min_expires`, `max_expires`: the least and the most that it may say.
    - `max_subscriptions`: subscriptions at one time.
    - `max_room_subscriptions`: those to one room.
    - `max_watcher_subscriptions`: those of one user.
    - `waiting`: seconds for which it is known who asked to watch and was not decided about.
    - `max_room_waiting`: how many of them in one room.
    """

    name: str = key("presence", values.server_name)
    focus: SipURI | None = key(None, values.proxy)  # noqa: RUF009
    interval: float = key(1.0, _interval)
    winfo_interval: float = key(5.0, _interval)
    partial: bool = key(True, values.boolean)
    expires: int = key(3600, values.count)
    min_expires: int = key(60, values.count)
    max_expires: int = key(86400, values.count)
    max_octets: int = key(524_288, values.count)
    max_subscriptions: int = key(20_000, values.count)
    max_room_subscriptions: int = key(5_000, values.count)
    max_watcher_subscriptions: int = key(100, values.count)
    waiting: float = key(604_800.0, values.seconds)
    max_room_waiting: int = key(100, values.count)

    @property
    def problems(self) -> Iterable[str]:
        """What the keys say that does not go together."""
        if self.min_expires > self.max_expires:
            yield (
                f"min_expires: {self.min_expires} is more than max_expires, {self.max_expires};"
                " write a lower one"
            )
