"""Notifications of what became of a message (RFC 5438): who sent which.

A client that gets a message and was asked to, says that it was delivered or
displayed. In a room that concerns the sender of the original alone, so it goes to
it and to nobody else (RFC 5438 §7.2.1.1).
"""

from __future__ import annotations

from collections import OrderedDict

from msrpconf.protocols.cpim import IMDN_NAMESPACE, CpimHead
from msrpconf.protocols.xml import parse_xml

IMDN = "message/imdn+xml"

MAX_REMEMBERED = 5000
"""Messages whose sender a room remembers; the oldest are forgotten first."""

MAX_ID = 256
"""Characters of a Message-ID that is remembered."""

MAX_OCTETS = 16384
"""Octets that a notification may have."""

_NAMESPACE = "{urn:ietf:params:xml:ns:imdn}"


class Originals:
    """The senders of messages that may be notified of, by imdn.Message-ID."""

    def __init__(self) -> None:
        self._senders: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._senders)

    def sent(self, head: CpimHead, user: str) -> None:
        """Remember who sent a message, if it has an imdn.Message-ID.

        Who sends a message under an identifier that is taken does not take it over.
        """
        if len(head.headers) < 4:
            return  # From, To and a namespace leave no place for one
        for message_id in head.get_all("Message-ID", IMDN_NAMESPACE)[:1]:
            if message_id and len(message_id) <= MAX_ID and message_id not in self._senders:
                self._senders[message_id] = user
                if len(self._senders) > MAX_REMEMBERED:
                    self._senders.popitem(last=False)

    def sender_of(self, message_id: str) -> str | None:
        """The user who sent the message, None if it is not remembered."""
        return self._senders.get(message_id)


def notified_message(document: bytes) -> str:
    """The Message-ID of the message that an IMDN document is about (RFC 5438 §11.1.1).

    Raises `ValueError` that says what is wrong.
    """
    root = parse_xml(document, "IMDN", MAX_OCTETS)
    message_id = root.findtext(f"{_NAMESPACE}message-id")
    if root.tag != f"{_NAMESPACE}imdn" or not message_id:
        raise ValueError("the IMDN needs an <imdn> with a <message-id>, RFC 5438 section 11.1")
    return message_id.strip()
