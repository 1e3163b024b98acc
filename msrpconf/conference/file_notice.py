"""Telling a room that a file is there.

Everybody gets a line of text in the room's voice. Whose client has message/cpim gets with it a
header that says the same to the client: the file-selector by which the file can be fetched
(RFC 5547 §5), in a namespace of its own (RFC 3862 §3.4)::

    NS: file <urn:uuid:6ab65d2e-5a5c-4d57-9c3d-3b1d0f7c2a55>
    file.File-Selector: name:"photo.jpg" type:image/jpeg size:123456 hash:sha-1:72:24:...
"""

from __future__ import annotations

from msrpconf.conference.files import StoredFile
from msrpconf.conference.rendition import Speaker
from msrpconf.conference.room import Room
from msrpconf.conference.voice import announce
from msrpconf.protocols.cpim import FILE_NAMESPACE

_UNITS = ("kB", "MB", "GB", "TB")


def tell_of_file(room: Room, sender: Speaker, file: StoredFile) -> None:
    """Say in `room` that `sender` gave it `file`, and how it is fetched."""
    text = (
        f"{sender.label} sent a file: {file.name} ({readable_size(file.size)}, {file.media_type}). "
        f'To fetch it, ask {room.uri} for "{file.name}" with a client that has file transfer '
        "(RFC 5547)."
    )
    selector = ("NS", f"file <{FILE_NAMESPACE}>"), ("file.File-Selector", str(file.selector))
    announce(room, text, selector)


def readable_size(octets: int) -> str:
    """``1 octet``, ``999 octets``, ``1.2 kB``, ``12 kB``, …"""
    if octets < 1000:
        return f"{octets} octet{'' if octets == 1 else 's'}"
    size, unit = octets / 1000, 0
    while size >= 999.5 and unit + 1 < len(_UNITS):
        size /= 1000
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if size < 9.95 else f"{size:.0f} {_UNITS[unit]}"
