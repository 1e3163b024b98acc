"""What can be wrong with a database, and with what is asked of it."""

from __future__ import annotations

__all__ = ["DatabaseError", "NoSuchRoom", "RoomChanged", "RoomExists"]


class DatabaseError(Exception):
    """The database cannot be used; the text says which one, without its password, and why."""


class NoSuchRoom(LookupError):
    """There is no static room of that URI."""


class RoomExists(Exception):
    """There is a static room of that URI already."""


class RoomChanged(Exception):
    """Somebody else has changed the room since it was read."""
