"""An MSRP client that counts octets instead of showing them, and reads as fast as it is told."""

from __future__ import annotations

import socket
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from msrpconf.protocols.msrp.frame import (
    Continuation,
    FrameParser,
    Head,
    encode,
    new_transaction,
)

reactor: Any = _reactor

COMPLETE, MORE, ABORTED = Continuation.COMPLETE, Continuation.MORE, Continuation.ABORTED
CHUNK = 16384


class Heard:
    """A message as far as it has come: its first octets, how many, their hash, and its end."""

    def __init__(self) -> None:
        self.begins = b""
        self.octets = 0
        self.end = MORE
        self.hash = sha256()


class Device(Protocol):
    """Somebody's MSRP connection for one session, between `path` and `server_path`."""

    def __init__(self, path: str, server_path: str) -> None:
        self._paths = [(b"To-Path", server_path.encode()), (b"From-Path", path.encode())]
        self.answers: list[int] = []
        """The statuses of the answers that have come."""
        self.messages: dict[bytes, Heard] = {}
        """What has come, by Message-ID, in the order in which it began."""
        self.ended: list[Heard] = []
        """The same, in the order in which it ended."""
        self.octets = 0
        """Octets of all that has come."""
        self.rate = 0
        """Octets per second that are read; 0 for all that come."""
        self.lost: Deferred[None] = Deferred()
        self._pause: Any = None
        self._parser = FrameParser()
        self._hearing: Heard | None = None
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    # What it says.

    def send(
        self,
        body: bytes | None,
        message_id: str = "m1",
        *,
        start: int = 1,
        total: int | None = None,
        flag: Continuation = COMPLETE,
        content_type: bytes = b"text/plain",
    ) -> None:
        """Send one SEND; without a body, the one that binds the session."""
        known = b"*" if total is None else b"%d" % total
        fields = [*self._paths, (b"Message-ID", message_id.encode())]
        if body is None:
            fields.append((b"Byte-Range", b"1-0/0"))
            octets = encode(b"SEND", new_transaction(), fields)
        else:
            fields.append((b"Byte-Range", b"%d-*/%b" % (start, known)))
            fields.append((b"Content-Type", content_type))
            octets = encode(b"SEND", new_transaction(), fields, body, flag)
        assert self.transport is not None
        self.transport.write(octets)

    def say(self, body: bytes, message_id: str = "m1") -> None:
        """Send a message, in chunks where it is a long one."""
        for start in range(0, len(body), CHUNK):
            last = start + CHUNK >= len(body)
            self.send(
                body[start : start + CHUNK],
                message_id,
                start=start + 1,
                total=len(body),
                flag=COMPLETE if last else MORE,
            )

    # What it hears.

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Wait until something has come that makes `condition` true."""
        result: Deferred[None] = Deferred()
        if condition():
            result.callback(None)
        else:
            self._waiting.append((condition, result))
        return result

    def until_ended(self, count: int) -> Deferred[None]:
        """Wait until so many messages have come to their end."""
        return self.until(lambda: len(self.ended) >= count)

    def connectionMade(self) -> None:
        # What is not read shall not be hidden in the kernel by the megabyte.
        self._transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    def abort(self) -> None:
        """Vanish."""
        self._transport.abortConnection()

    def stop_reading(self) -> None:
        self._transport.pauseProducing()

    def read_on(self) -> None:
        if not self.lost.called:
            self._transport.resumeProducing()

    @property
    def _transport(self) -> Any:
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        self.octets += len(data)
        if self.rate:
            self.stop_reading()
            self._pause = reactor.callLater(len(data) / self.rate, self.read_on)
        for event in self._parser.receive_data(data):
            if isinstance(event, Head):
                self._begun(event)
            elif self._hearing is not None:
                self._continued(self._hearing, event)
        waiting, self._waiting = self._waiting, []
        for condition, result in waiting:
            if condition():
                result.callback(None)
            else:
                self._waiting.append((condition, result))

    def _begun(self, head: Head) -> None:
        self._hearing = None
        if head.status:
            self.answers.append(head.status)
        elif head.method == b"SEND" and head.content_type:
            self._hearing = self.messages.setdefault(head.message_id, Heard())
            place = head.byte_range
            assert place.start == self._hearing.octets + 1, (place, self._hearing.octets)

    def _continued(self, heard: Heard, event: object) -> None:
        if isinstance(event, bytes):
            heard.octets += len(event)
            heard.begins += event[: 100 - len(heard.begins)]
            heard.hash.update(event)
        elif isinstance(event, Continuation):
            heard.end = event
            if event is not MORE:
                self.ended.append(heard)
            self._hearing = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        self.lost.callback(None)

    @property
    def texts(self) -> list[bytes]:
        """The first octets of each message that has come whole."""
        return [each.begins for each in self.ended if each.end is COMPLETE]


def device_factory(path: str, server_path: str) -> Factory:
    """What makes one `Device`."""
    return Factory.forProtocol(lambda: Device(path, server_path))
