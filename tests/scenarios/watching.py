"""Somebody who watches a room by hand: texts out, texts in, over UDP and perhaps TCP."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from lxml import etree
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol

from tests.scenarios.wire import SipWire, dedent, header

NAMESPACE = "{urn:ietf:params:xml:ns:conference-info}"


class _Stream(Protocol):
    """A connection that the server makes to us."""

    def __init__(self, watcher: WatcherWire) -> None:
        self._watcher = watcher
        self._buffer = b""

    def connectionMade(self) -> None:
        self._watcher.streams.append(self)

    def connectionLost(self, reason: Any = None) -> None:
        self._watcher.streams.remove(self)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)content-length: *(\d+)", self._buffer[:end])
            assert length is not None
            end += 4 + int(length[1])
            if len(self._buffer) < end:
                return
            message, self._buffer = self._buffer[:end], self._buffer[end:]
            self._watcher.came_by_tcp += 1
            self._watcher.received(message.decode(), self)


class WatcherWire(SipWire):
    """A SIP user agent that watches, by hand. It answers each NOTIFY as `status` says."""

    def __init__(self, server: tuple[str, int], name: str, *, tcp: bool = False) -> None:
        self._listening_tcp: Any = None
        if tcp:
            self._listen_at_both(server)
        else:
            super().__init__(server)
        self.name = name
        self.domain = "home.com"
        self.to_tag = ""
        self.cseq = 0
        self.call_id = f"watch-{name}@home.com"
        self.from_tag = "w1"
        self.uri = "sip:conf1@127.0.0.1"
        self.status = "200 OK"
        self.came_by_tcp = 0
        self.streams: list[_Stream] = []
        self._told: set[str] = set()
        self.people: set[str] = set()
        """Who is in the room, as far as `apply` was told."""

    def _listen_at_both(self, server: tuple[str, int]) -> None:
        """At one port for TCP and UDP: what is free for one may be taken for the other."""
        listener: Any = reactor
        factory = Factory.forProtocol(lambda: _Stream(self))
        while True:
            listening = listener.listenTCP(0, factory, interface=server[0])
            try:
                super().__init__(server, listening.getHost().port)
            except CannotListenError:
                listening.stopListening()
                continue
            self._listening_tcp = listening
            return

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        # A server that was started again may be at another port.
        self._server = addr
        self.received(datagram.decode("utf-8"), None)

    def received(self, text: str, stream: _Stream | None) -> None:
        if not text.startswith("SIP/2.0"):
            self._answer(text, stream)
        self._inbox.put(text)

    def subscribe(
        self,
        expires: int | None = 3600,
        event: str = "conference",
        headers: tuple[str, ...] = (),
        method: str = "SUBSCRIBE",
        body: str = "",
    ) -> None:
        """Send a SUBSCRIBE, as Blink writes it."""
        self.cseq += 1
        more = list(headers)
        if expires is not None:
            more.append(f"Expires: {expires}")
        content = "".join(f"\n    {line}" for line in more)
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        self.send(
            f"""
    {method} {self.uri} SIP/2.0
    Via: SIP/2.0/UDP 127.0.0.1:{self.port};rport;branch=z9hG4bK{self.name}{method}{self.cseq}
    Max-Forwards: 70
    From: <sip:{self.name}@{self.domain}>;tag={self.from_tag}
    To: <{self.uri}>{tag}
    Contact: <sip:{self.name}@127.0.0.1:{self.port}>
    Call-ID: {self.call_id}
    CSeq: {self.cseq} {method}
    Event: {event}{content}""",
            body,
        )

    def _answer(self, request: str, stream: _Stream | None) -> None:
        text = dedent(f"""
            SIP/2.0 {self.status}
            Via: {header(request, "Via")}
            From: {header(request, "From")}
            To: {header(request, "To")}
            Call-ID: {header(request, "Call-ID")}
            CSeq: {header(request, "CSeq")}
            Content-Length: 0
        """)
        octets = (text.strip() + "\r\n\r\n").encode()
        if stream is None:
            assert self.transport is not None
            self.transport.write(octets, self._server)
        else:
            assert stream.transport is not None
            stream.transport.write(octets)

    @inlineCallbacks
    def begin(self, **options: Any) -> Generator[Deferred[Any], Any, News]:
        """Subscribe; give the first NOTIFY."""
        self.subscribe(**options)
        answer = yield self.next()
        assert answer.startswith("SIP/2.0 200"), answer
        self.to_tag = header(answer, "To").partition(";tag=")[2]
        news: News = yield self.news()
        return news

    @inlineCallbacks
    def news(self) -> Generator[Deferred[Any], Any, News]:
        """The next NOTIFY. One that is sent again, because the machine is slow, is none."""
        text = yield self.next()
        while text in self._told:
            text = yield self.next()
        assert text.startswith("NOTIFY "), text
        self._told.add(text)
        return News(text)

    def apply(self, news: News) -> None:
        """Know what a NOTIFY says of who is in the room."""
        if news.kind == "full":
            self.people.clear()
        for uri, shown in news.users.items():
            if " connected" in shown:
                self.people.add(uri)
            else:
                self.people.discard(uri)

    @inlineCallbacks
    def close(self) -> Generator[Deferred[Any], Any, None]:
        for stream in list(self.streams):
            transport: Any = stream.transport
            transport.abortConnection()
        if self._listening_tcp is not None:
            yield self._listening_tcp.stopListening()
        yield super().close()


class News:
    """What a NOTIFY says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.state = header(text, "Subscription-State")
        self.body = text.partition("\r\n\r\n")[2]
        self.kind = ""
        self.version = -1
        self.users: dict[str, str] = {}
        """By the entity: the state of the element and the statuses of its endpoints."""
        if self.body:
            root = etree.fromstring(self.body.encode())
            self.kind = root.get("state") or "full"
            self.version = int(root.get("version") or "-1")
            self.root = root
            for user in root.iter(f"{NAMESPACE}user"):
                statuses = (
                    each.text or ""
                    for each in user.iterfind(f"{NAMESPACE}endpoint/{NAMESPACE}status")
                )
                shown = " ".join((user.get("state") or "full", *statuses))
                self.users[user.get("entity") or ""] = shown

    def find(self, name: str) -> str | None:
        """The text of the first element of that name."""
        found = self.root.find(f".//{NAMESPACE}{name}")
        return None if found is None else found.text
