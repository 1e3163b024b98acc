"""NOTIFYs that are too large for UDP: by TCP, or else in their small form (RFC 3261 §18.1.1)."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transport import MAX_UDP_REQUEST
from msrpconf.services import notify_sender
from msrpconf.services.notify_sender import NO_STREAM_TIME, NotifySender
from tests.conference.support import request

UDP = Address("udp", "192.0.2.9", 5060)
TCP = Address("tcp", "192.0.2.9", 5060)
SMALL = b"3 are in the room"


@define(eq=False)
class _Sent:
    """A request that went out."""

    request: Request
    target: Address
    flow: Flow | None
    answer: Deferred[Response] = field(factory=Deferred)
    error: TransportError | None = None

    def when_final(self) -> Deferred[Response]:
        return self.answer


class NotifySenderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[_Sent] = []
        self.addresses = [UDP]
        self.alive: set[Flow] = set()
        self.made = 0
        layer: Any = self
        self.sender = NotifySender(
            self.clock, layer, lambda uri: succeed(self.addresses), self.alive.__contains__
        )

    def request(
        self,
        notify: Request,
        target: Address,
        flow: Flow | None = None,
        *,
        patience: float | None = None,
    ) -> _Sent:
        """As the transaction layer does."""
        sent = _Sent(notify, target, flow)
        self.sent.append(sent)
        return sent

    def notify(self, octets: int, token: str = "") -> Deferred[Response]:
        """Send a NOTIFY with a document of that size."""
        message = request("NOTIFY", "sip:bob@192.0.2.9", body=b"x" * octets)

        def small() -> Request:
            self.made += 1
            shrunk = message.copy()
            shrunk.body = SMALL
            return shrunk

        return self.sender.send(message, token, small)

    def answer(self, status: int = 200, error: str = "") -> None:
        """What comes of the one that went out last."""
        last = self.sent[-1]
        if error:
            last.error = TransportError(error)
        last.answer.callback(last.request.response(status))

    def went(self) -> list[tuple[str, int]]:
        """By which transports requests went out, and how many octets were in them."""
        sent, self.sent = self.sent, []
        return [(each.target.transport, len(each.request.body)) for each in sent]

    def test_what_is_small_goes_as_it_is(self) -> None:
        done = self.notify(500)
        self.answer()
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual((self.went(), self.made), ([("udp", 500)], 0))

    def test_what_is_large_goes_by_tcp(self) -> None:
        done = self.notify(MAX_UDP_REQUEST)
        self.answer()
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual((self.went(), self.made), ([("tcp", MAX_UDP_REQUEST)], 0))

    def test_who_refuses_it_has_their_reason(self) -> None:
        """It was taken, and is not sent again in another form."""
        done = self.notify(5000)
        self.answer(481)
        self.assertEqual(self.successResultOf(done).status, 481)
        self.assertEqual((self.went(), self.made), ([("tcp", 5000)], 0))

    def test_who_takes_no_tcp_is_told_how_many(self) -> None:
        done = self.notify(5000)
        self.answer(503, "connection refused")
        self.answer()
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.went(), [("tcp", 5000), ("udp", len(SMALL))])
        # For a while they are not asked for that again; then they may have learnt it.
        self.notify(5000)
        self.assertEqual(self.went(), [("udp", len(SMALL))])
        self.clock.advance(NO_STREAM_TIME)
        self.notify(5000)
        self.assertEqual(self.went(), [("tcp", 5000)])

    def test_something_else_that_takes_the_connection(self) -> None:
        done = self.notify(5000)
        self.answer(408, "does not answer")
        self.answer()
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.went(), [("tcp", 5000), ("udp", len(SMALL))])

    def test_over_the_flow_of_a_direct_client(self) -> None:
        flow = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 40000))
        self.alive.add(flow)
        self.notify(5000, str(flow))
        self.assertEqual(self.sent[0].flow, flow)
        self.assertEqual(self.went(), [("tcp", 5000)])
        # One that is lost goes where the Contact leads.
        self.alive.clear()
        self.notify(500, str(flow))
        self.assertIsNone(self.sent[0].flow)
        self.assertEqual(self.went(), [("udp", 500)])

    def test_over_udp_from_behind_a_nat(self) -> None:
        """What is small goes back to where the SUBSCRIBE came from."""
        flow = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 40000))
        self.alive.add(flow)
        done = self.notify(5000, str(flow))
        self.answer(503, "no route to host")
        self.assertEqual(self.sent[-1].flow, flow)
        self.answer()
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.went(), [("tcp", 5000), ("udp", len(SMALL))])

    def test_the_next_address(self) -> None:
        self.addresses = [TCP, Address("tcp", "192.0.2.10", 5060)]
        done = self.notify(5000)
        self.answer(503, "connection refused")
        self.answer()
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.went(), [("tcp", 5000)] * 2)

    def test_no_address(self) -> None:
        self.addresses = []
        self.assertEqual(self.successResultOf(self.notify(500)).status, 503)

    def test_no_more_hosts_are_remembered_than_a_bound(self) -> None:
        self.patch(notify_sender, "MAX_HOSTS", 3)
        self.setUp()
        for number in range(10):
            self.addresses = [Address("udp", f"192.0.2.{number}", 5060)]
            self.notify(5000)
            self.answer(503, "connection refused")
        self.assertEqual(len(self.sender._no_stream), 3)
