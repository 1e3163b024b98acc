"""What each end of a link says of itself first: HELLO (doc/channel.md)."""

from __future__ import annotations

import re

from attrs import evolve, frozen

from msrpconf.protocols.channel_codec import VERSION, ChannelSyntaxError
from msrpconf.protocols.sip.message import Headers, Request
from msrpconf.protocols.sip.uri import OtherURI

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,255}")

SERVER = "server"
DISPATCHER = "dispatcher"
FOCUS = "focus"

MAX_CAPACITY = 999_999_999
"""What a server may say that it takes."""


@frozen
class Hello:
    """What each side says of itself first.

    `role` is ``server``, ``dispatcher`` or ``focus``; `capacity` of a server is a number that
    says how many rooms it takes, `draining` whether it takes no new ones, `instance` what tells
    its process from the one before; of a dispatcher, `moves` is whether it brings rooms to others.
    """

    name: str
    role: str
    capacity: int = 0
    draining: bool = False
    version: int = VERSION
    instance: str = ""
    moves: bool = False

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The header fields of HELLO."""
        headers = [
            ("Version", str(self.version)),
            ("Role", self.role),
            ("Name", self.name),
            *self.takes,
        ]
        if self.instance:
            headers.append(("Instance", self.instance))
        if self.moves:
            headers.append(("Moves", "yes"))
        return headers

    @property
    def takes(self) -> list[tuple[str, str]]:
        """What a server says of the rooms that it takes, also in DRAIN."""
        return [
            ("Capacity", str(min(self.capacity, MAX_CAPACITY))),
            ("Draining", "yes" if self.draining else "no"),
        ]

    def taking(self, headers: Headers) -> Hello:
        """The same, where a DRAIN says so. Raises `ChannelSyntaxError`."""
        capacity = self.capacity
        if "Capacity" in headers:
            capacity = _number(headers, "Capacity")
        return evolve(self, capacity=capacity, draining=headers.get("Draining") == "yes")

    @classmethod
    def of(cls, headers: Headers) -> Hello:
        """Read them. Raises `ChannelSyntaxError`."""
        name, role = headers.get("Name") or "", headers.get("Role") or ""
        if not _NAME.fullmatch(name):
            raise ChannelSyntaxError("Name: expected a host's name or address, or a server's name")
        instance = headers.get("Instance") or ""
        if instance and not _NAME.fullmatch(instance):
            raise ChannelSyntaxError("Instance: expected letters, digits and ._:-")
        return cls(
            name,
            role,
            _number(headers, "Capacity"),
            headers.get("Draining") == "yes",
            _number(headers, "Version"),
            instance,
            headers.get("Moves") == "yes",
        )


def _number(headers: Headers, name: str) -> int:
    value = headers.get(name) or "0"
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise ChannelSyntaxError(f"{name}: expected a number")
    return int(value)


def link_request(
    method: str, name: str, headers: list[tuple[str, str]] | None = None, body: bytes = b""
) -> Request:
    """A request about the link, of who is called `name`."""
    return Request(method, OtherURI("channel", name), Headers(headers or []), body)
