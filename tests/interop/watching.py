"""A SIP user agent that watches rooms through a proxy, and may be behind a NAT."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.protocols.conference_info import CONFERENCE_INFO
from msrpconf.protocols.sip.answering import MAX_ROUNDS, Answering
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.locate import locate
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.protocols.sip.transaction import (
    ServerTransaction,
    TransactionLayer,
    new_call_id,
    new_tag,
)
from msrpconf.protocols.sip.transport import TransportLayer
from msrpconf.protocols.sip.uri import parse_uri
from tests.documents import read
from tests.scenarios.watching import News


class Watcher:
    """The user `name` of `domain`, with a subscription; `proxy` is where all requests go first.

    `contact` is the URI in Contact, None for where it listens. Each NOTIFY is answered
    with 200; `next` gives them in order.
    """

    def __init__(
        self, name: str, domain: str, password: str, proxy: Address, contact: str | None = None
    ) -> None:
        self.user = f"sip:{name}@{domain}"
        self._name = name
        self._proxy = proxy
        self._contact = contact
        self._answering = Answering(name, password)
        self._dialog: Dialog | None = None
        self._came: list[News] = []
        self._waiting: list[Deferred[News]] = []
        self.requests: list[Request] = []
        """The NOTIFYs that have come."""
        self._transport = TransportLayer(reactor)
        clock: Any = reactor
        self._layer = TransactionLayer(
            clock, self._transport, on_request=self._requested, on_ack=lambda ack, flow: None
        )
        self._transport.on_message = self._layer.receive
        self._transport.on_flow_lost = self._layer.flow_lost
        self._requests = RequestSender(
            clock,
            self._layer,
            lambda uri: locate(reactor, uri, usable=self._transport.can_reach),
            self._transport.is_alive,
        )

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Listen."""
        transport = self._proxy.transport
        here = yield self._transport.listen(Address(transport, "127.0.0.1", 0))
        if self._contact is None:
            suffix = "" if transport == "udp" else f";transport={transport}"
            self._contact = f"sip:{self._name}@{here.host}:{here.port}{suffix}"

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Close everything; a subscription is left as it is."""
        self._layer.stop()
        yield self._transport.stop()

    @inlineCallbacks
    def subscribe(
        self, room: str, expires: int = 3600, headers: tuple[tuple[str, str], ...] = ()
    ) -> Generator[Deferred[Any], Any, Response]:
        """Send a SUBSCRIBE, in the dialog if there is one; give its final response."""
        more = [
            ("Contact", f"<{self._contact}>"),
            ("Event", "conference"),
            ("Accept", CONFERENCE_INFO),
            ("Expires", str(expires)),
            *headers,
        ]
        if self._dialog is not None:
            self._dialog, request = self._dialog.request("SUBSCRIBE", more)
            response: Response = yield self._requests.send(request)
            return response
        request, response = yield self.send("SUBSCRIBE", room, more)
        if response.status < 300:
            self._dialog = Dialog.from_response(request, response)
        return response

    @inlineCallbacks
    def send(
        self, method: str, uri: str, headers: Sequence[tuple[str, str]], body: bytes = b""
    ) -> Generator[Deferred[Any], Any, tuple[Request, Response]]:
        """Send a request in no dialog, with a password if that is asked for.

        Gives it as it went last, and its final response. A To or From in `headers` is taken.
        """
        given = {name for name, _ in headers}
        fields = Headers(
            [
                *(() if "From" in given else [("From", f"<{self.user}>;tag={new_tag()}")]),
                *(() if "To" in given else [("To", f"<{uri}>")]),
                ("Call-ID", new_call_id()),
                ("CSeq", f"1 {method}"),
                *headers,
            ]
        )
        request = Request(method, parse_uri(uri), fields, body)
        at = f"sip:{self._proxy.host}:{self._proxy.port};transport={self._proxy.transport}"
        proxy = parse_uri(at)
        response: Response = yield self._requests.send(request, proxy=proxy)
        for _ in range(MAX_ROUNDS):
            again = self._answering.answer(request, response)
            if again is None:
                break
            request = again
            response = yield self._requests.send(request, proxy=proxy)
        return request, response

    def next(self) -> Deferred[News]:
        """The next NOTIFY, once it is there."""
        result: Deferred[News] = Deferred()
        if self._came:
            result.callback(self._came.pop(0))
        else:
            self._waiting.append(result)
        return result

    @inlineCallbacks
    def until_present(self, user: str) -> Generator[Deferred[Any], Any, None]:
        """Done with a NOTIFY that has this user, perhaps among others, as connected."""
        while True:
            news: News = yield self.next()
            if "connected" in news.users.get(user, "").split():
                return

    @inlineCallbacks
    def until(self, *present: str) -> Generator[Deferred[Any], Any, News]:
        """The first NOTIFY, from now on, that has just these users as connected."""
        while True:
            news: News = yield self.next()
            here = {uri for uri, status in news.users.items() if "connected" in status.split()}
            if news.body and here == set(present):
                return news

    def _requested(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if request.method != "NOTIFY":
            transaction.answer(405)
            return
        transaction.answer(200)
        self.requests.append(request)
        if request.body:
            read(request.body)  # it is valid
        news = News(bytes(request).decode("utf-8"))
        if self._waiting:
            self._waiting.pop(0).callback(news)
        else:
            self._came.append(news)
