"""Whatever comes by UDP, through transport and transactions: nothing is raised."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.dialog import Dialog, OutOfOrder
from msrpconf.protocols.sip.message import SipSyntaxError
from msrpconf.protocols.sip.transaction import ServerTransaction, TransactionLayer
from msrpconf.protocols.sip.transport import TransportLayer
from tests.protocols.sip.peers import octets

SOURCE, LOCAL = ("192.0.2.9", 5070), ("192.0.2.1", 5060)
METHODS = st.sampled_from(["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "SPAM"])
WORDS = st.sampled_from(
    [
        *(b";rport", b";rport=", b";received=x", b";maddr=[::1]", b";branch=", b";tag=", b"SIP/"),
        *(b"Contact: *\r\n", b"To: <sip:a@b>\r\n", b"CSeq: 99999999999 ACK\r\n"),
        *(b"\r\n", b",", b"<", b'"', b"%", b"\xff", b"\0"),
    ]
)


class AnyDatagramTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = TransportLayer(self.clock)
        self.layer = TransactionLayer(
            self.clock, self.transport, on_request=self.answer, on_ack=lambda ack, flow: None
        )
        self.transport.on_message = self.layer.receive

    def answer(self, transaction: ServerTransaction) -> None:
        """What a TU does with most requests."""
        if transaction.cancelled is not None:
            transaction.cancelled.answer(487)
        try:
            dialog = Dialog.from_request(transaction.request, transaction.tag)
            dialog.accept(transaction.request).refresh_target(transaction.request).request("BYE")
        except (SipSyntaxError, OutOfOrder):
            transaction.answer(400)
        else:
            transaction.answer(200)

    def receive(self, data: bytes) -> None:
        self.transport.datagram_received(data, SOURCE, LOCAL)
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=200, deadline=None)
    @given(METHODS, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9), WORDS), max_size=4))
    def test_requests_with_mistakes(
        self, method: str, mistakes: list[tuple[int, int, bytes]]
    ) -> None:
        data = octets("UDP", "192.0.2.9:5070", method=method)
        data = data.replace(b"Max-Forwards: 70", b"Contact: <sip:alice@192.0.2.9;a=b>;c=d")
        for place, length, word in mistakes:
            data = data[:place] + word + data[place + length :]
        self.receive(data)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=300))
    def test_any_octets(self, data: bytes) -> None:
        self.receive(data)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9), WORDS), max_size=4))
    def test_responses_with_mistakes(self, mistakes: list[tuple[int, int, bytes]]) -> None:
        data = octets("UDP", "192.0.2.1:5060").split(b"\r\n", 1)[1]
        data = b"SIP/2.0 200 OK\r\n" + data
        for place, length, word in mistakes:
            data = data[:place] + word + data[place + length :]
        self.receive(data)
