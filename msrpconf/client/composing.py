"""Who is typing (RFC 3994): what we tell the others of ourselves, and what they tell us.

idle --typed--> active, told; told again every `REFRESH` seconds
active --nothing typed for `IDLE` seconds--> idle, told
active --the message is sent--> idle, which the message itself tells
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from lxml import etree
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from msrpconf.client.message import Person
from msrpconf.protocols.msrp.sending import SendError
from msrpconf.protocols.xml import XmlError, parse_xml

ISCOMPOSING = "application/im-iscomposing+xml"
NAMESPACE = "urn:ietf:params:xml:ns:im-iscomposing"

IDLE = 15.0
"""Seconds without typing after which one is idle (RFC 3994 §3.2)."""

REFRESH = 60
"""Seconds after which "active" is told again, for those who come later."""

FORGOTTEN = 120
"""Seconds for which "active" holds that says nothing of being told again (RFC 3994 §3.3)."""

MAX_REFRESH = 600
"""Seconds for which any "active" holds here."""

MAX_DOCUMENT = 16384
"""Octets of a notice."""

MAX_TYPING = 1000
"""People who are known to be typing at a time; of more it is not told."""


@frozen
class Composing:
    """A notice: whether its sender is typing, and how many seconds that holds."""

    active: bool
    refresh: int | None = None

    @classmethod
    def parse(cls, document: bytes) -> Composing:
        """Read an isComposing document. Raises `XmlError`."""
        root = parse_xml(document, "isComposing document", MAX_DOCUMENT)
        if root.tag != f"{{{NAMESPACE}}}isComposing":
            raise XmlError("expected an isComposing document")
        # What is no state that we know is idle (§3.5).
        state = (root.findtext(f"{{{NAMESPACE}}}state") or "").strip()
        refresh = (root.findtext(f"{{{NAMESPACE}}}refresh") or "").strip()
        known = refresh.isascii() and refresh.isdigit() and len(refresh) < 10
        return cls(state == "active", int(refresh) if known else None)

    def __bytes__(self) -> bytes:
        root = etree.Element(f"{{{NAMESPACE}}}isComposing", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
        etree.SubElement(root, f"{{{NAMESPACE}}}state").text = "active" if self.active else "idle"
        etree.SubElement(root, f"{{{NAMESPACE}}}contenttype").text = "text/plain"
        if self.refresh is not None:
            etree.SubElement(root, f"{{{NAMESPACE}}}refresh").text = str(self.refresh)
        document: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
        return document


class Composer:
    """Our own typing; `send` sends a document to the others."""

    def __init__(self, clock: IReactorTime, send: Callable[[bytes], Deferred[None]]) -> None:
        self.active = False
        self._clock = clock
        self._send = send
        self._unwanted = False
        self._idle: IDelayedCall | None = None
        self._refresh: IDelayedCall | None = None

    def typed(self) -> None:
        """Something was typed just now."""
        if self._unwanted:
            return
        if not self.active:
            self.active = True
            self._tell_active()
        if self._idle is None:
            self._idle = self._clock.callLater(IDLE, self.stopped)
        else:
            self._idle.reset(IDLE)

    def stopped(self) -> None:
        """Nothing is being typed any more, and nothing was sent."""
        if self.active:
            self.said()
            self._tell(Composing(False))

    def said(self) -> None:
        """What was typed was sent; or it does not matter any more."""
        self.active = False
        for timer in (self._idle, self._refresh):
            if timer is not None and timer.active():
                timer.cancel()
        self._idle = self._refresh = None

    def _tell_active(self) -> None:
        self._refresh = self._clock.callLater(REFRESH, self._tell_active)
        self._tell(Composing(True, REFRESH))

    def _tell(self, state: Composing) -> None:
        self._send(bytes(state)).addErrback(self._not_told)

    def _not_told(self, failure: Failure) -> None:
        """Who does not take such notices is sent no more (RFC 3994 §4)."""
        failure.trap(SendError)
        error = failure.value
        if isinstance(error, SendError) and error.status in (403, 415):
            self._unwanted = True
            self.said()


class Typists:
    """Which of the others are typing; `tell` is called with each change."""

    def __init__(self, clock: IReactorTime, tell: Callable[[Person, bool], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._timers: dict[str, IDelayedCall] = {}

    def heard(self, person: Person, state: Composing) -> None:
        """A notice of somebody's."""
        if not state.active:
            self.said(person)
            return
        seconds = min(state.refresh or FORGOTTEN, MAX_REFRESH)
        timer = self._timers.get(person.key)
        if timer is not None:
            timer.reset(seconds)
        elif len(self._timers) < MAX_TYPING:
            self._timers[person.key] = self._clock.callLater(seconds, self.said, person)
            self._tell(person, True)

    def said(self, person: Person) -> None:
        """Somebody has sent what they typed, or has stopped, or has gone."""
        timer = self._timers.pop(person.key, None)
        if timer is not None:
            if timer.active():
                timer.cancel()
            self._tell(person, False)

    def close(self) -> None:
        """Tell nothing more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
