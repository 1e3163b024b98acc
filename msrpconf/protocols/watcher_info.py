"""Watcher information documents: values, and the XML that tells them (RFC 3858).

Whatever a watcher called itself, a document is well-formed, and valid by the schema of RFC 3858
§6.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from msrpconf.protocols.xml_writing import escaped, escaped_uri

WATCHER_INFO = "application/watcherinfo+xml"
"""The media type of the documents (RFC 3858 §8.1)."""

NAMESPACE = "urn:ietf:params:xml:ns:watcherinfo"

STATUSES = ("pending", "active", "waiting", "terminated")

EVENTS = (
    *("subscribe", "approved", "deactivated", "probation", "rejected"),
    *("timeout", "giveup", "noresource"),
)
"""What brings a subscription into its status (RFC 3857 §4.7.1)."""


@frozen
class Watcher:
    """A subscription of somebody who watches (RFC 3858 §3).

    `id` is a token that is this subscription's alone, `uri` who watches, `status` one of
    `STATUSES` and `event` one of `EVENTS`. `duration` is for how many seconds it has been there,
    `expiration` in how many it will not be any more.
    """

    id: str
    uri: str
    status: str
    event: str
    display_name: str | None = None
    duration: int | None = None
    expiration: int | None = None


@frozen
class WatcherElement:
    """One watcher without what passes with time, for who tells of the same one again."""

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, watcher: Watcher) -> WatcherElement:
        """That of a watcher, whatever its times are."""
        name = watcher.display_name
        shown = "" if name is None else f' display-name="{escaped(name)}"'
        head = (
            f'<watcher id="{escaped(watcher.id)}" status="{watcher.status}"'
            f' event="{watcher.event}"{shown}'
        )
        return cls(head.encode(), f">{escaped_uri(watcher.uri)}</watcher>\n".encode())

    def at(self, duration: int | None, expiration: int | None) -> bytes:
        """All of it, with its times: see `Watcher`."""
        times = b"" if duration is None else b' duration-subscribed="%d"' % max(0, duration)
        if expiration is not None:
            times += b' expiration="%d"' % max(0, expiration)
        return b"".join((self.head, times, self.tail))


def watcher_element(watcher: Watcher) -> bytes:
    """All of one watcher."""
    return WatcherElement.of(watcher).at(watcher.duration, watcher.expiration)


def document(
    resource: str, package: str, state: str, version: int, elements: Iterable[bytes] = ()
) -> bytes:
    """A document of who watches `resource` by the event package `package`.

    `state` is ``full`` or ``partial``, and `elements` are watchers.
    """
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<watcherinfo xmlns="{NAMESPACE}" version="{version}" state="{state}">\n'
        f'<watcher-list resource="{escaped_uri(resource)}" package="{escaped(package)}">\n'
    )
    return b"".join((head.encode(), *elements, b"</watcher-list>\n</watcherinfo>\n"))
