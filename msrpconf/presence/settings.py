"""What an operator decides about telling watchers."""

from __future__ import annotations

from attrs import frozen


@frozen
class NotifierSettings:
    """What an operator decides. Times are in seconds."""

    interval: float = 1.0
    """The least from one NOTIFY of a subscription to the next, but for those asked for."""
    winfo_interval: float = 5.0
    """The same for watcher information (RFC 3857 §4.10)."""
    partial: bool = True
    """Whether watchers are told what has changed, or everything each time."""
    max_octets: int = 524288
    """How large a document may be; who watches a larger room is told how many are there."""
    max_subscriptions: int = 20000
    max_room_subscriptions: int = 5000
    max_watcher_subscriptions: int = 100
    waiting: float = 604800.0
    """How long it is known who asked to watch, and was not decided about (RFC 3857 §4.7.1)."""
    max_room_waiting: int = 100

    def interval_of(self, package: str) -> float:
        """The least from one NOTIFY to the next in an event package."""
        return self.winfo_interval if package.endswith(".winfo") else self.interval
