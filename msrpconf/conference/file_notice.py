"""Telling a room that a file is there.

Everybody gets a line of text in the room's voice. Whose client has message/cpim gets with it a
header that says the same to the client: the file-selector by which the file can be fetched
(RFC 5547 §5), in a namespace of its own (RFC 3862 §3.4)::

    NS: file <urn:uuid:6ab65d2e-5a5c-4d57-9c3d-3b1d0f7c2a55>
    file.File-Selector: name:"photo.jpg" type:image/jpeg size:123456 hash:sha-1:72:24:...
"""

from __future__ import annotations

from datetime import UTC, datetime

from msrpconf.conference.capabilities import CPIM, TEXT
from msrpconf.conference.files import StoredFile
from msrpconf.conference.identity import Identity
from msrpconf.conference.room import Room
from msrpconf.protocols.cpim import CpimAddress, build_cpim_head
from msrpconf.protocols.msrp.outgoing import new_message_id, send_frame
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import parse_uri

FILE_NAMESPACE = "urn:uuid:6ab65d2e-5a5c-4d57-9c3d-3b1d0f7c2a55"
"""The namespace of the CPIM header File-Selector, whose value is that of a=file-selector."""

_TEXT = "text/plain; charset=utf-8"
_UNITS = ("kB", "MB", "GB", "TB")


def tell_of_file(room: Room, sender: Identity, file: StoredFile) -> None:
    """Say in `room` that `sender` gave it `file`, and how it is fetched."""
    text = (
        f"{sender.short} sent a file: {file.name} ({readable_size(file.size)}, {file.media_type}). "
        f'To fetch it, ask {room.uri} for "{file.name}" with a client that has file transfer '
        "(RFC 5547)."
    ).encode()
    now = datetime.fromtimestamp(room.now(), UTC).replace(microsecond=0)
    head = build_cpim_head(
        CpimAddress(room.uri),
        CpimAddress(room.uri),
        now,
        _TEXT,
        headers=(
            ("NS", f"file <{FILE_NAMESPACE}>"),
            ("file.File-Selector", str(file.selector)),
        ),
    )
    wrapped = head + text
    bare = f"{_short(room.uri)}: ".encode() + text
    message_id = new_message_id()
    forms = {
        True: send_frame(message_id, CPIM.encode(), (wrapped,), total=len(wrapped)),
        False: send_frame(message_id, _TEXT.encode(), (bare,), total=len(bare)),
    }
    for reception, listeners in room.audiences.items():
        if reception.takes(TEXT):
            for session in listeners:
                if not session.forward(forms[reception.cpim]):
                    room.undelivered += 1


def readable_size(octets: int) -> str:
    """``1 octet``, ``999 octets``, ``1.2 kB``, ``12 kB``, …"""
    if octets < 1000:
        return f"{octets} octet{'' if octets == 1 else 's'}"
    size, unit = octets / 1000, 0
    while size >= 999.5 and unit + 1 < len(_UNITS):
        size /= 1000
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if size < 9.95 else f"{size:.0f} {_UNITS[unit]}"


def _short(uri: str) -> str:
    """The room as plain text names it."""
    try:
        return parse_uri(uri).key.partition(":")[2]
    except SipSyntaxError:
        return uri
