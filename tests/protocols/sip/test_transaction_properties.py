"""Whatever comes in whatever order: nothing is raised, and everything ends."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transaction import (
    ClientTransaction,
    ServerTransaction,
    State,
    TransactionLayer,
)
from tests.protocols.sip.fakes import FLOWS, TARGETS, RecordingSender, make_request

TRANSPORTS = st.sampled_from(["udp", "tcp"])
METHODS = st.sampled_from(["INVITE", "OPTIONS"])
STATUSES = st.sampled_from([100, 180, 200, 202, 302, 408, 487, 503])
WAITS = st.sampled_from([0.1, 0.5, 4.0, 33.0, 250.0])

# What happens: a name and an argument.
CLIENT_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("respond"), STATUSES),
        st.tuples(st.just("cancel"), st.none()),
        st.tuples(st.just("wait"), WAITS),
        st.tuples(st.just("break"), st.booleans()),
    ),
    max_size=10,
)
SERVER_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.sampled_from(["INVITE", "OPTIONS", "ACK", "CANCEL"])),
        st.tuples(st.just("answer"), STATUSES),
        st.tuples(st.just("refuse"), st.sampled_from([403, 503])),
        st.tuples(st.just("wait"), WAITS),
        st.tuples(st.just("break"), st.booleans()),
    ),
    max_size=10,
)
Events = list[tuple[str, Any]]


class AnySequenceTests(SynchronousTestCase):
    def begin(self) -> None:
        self.clock = Clock()
        self.sender = RecordingSender()
        self.opened: list[ServerTransaction] = []
        self.layer = TransactionLayer(
            self.clock, self.sender, on_request=self.opened.append, on_ack=lambda ack, flow: None
        )

    def common(self, event: str, argument: Any) -> None:
        if event == "wait":
            self.clock.pump([argument / 8] * 8)
        elif event == "break":
            self.sender.broken = TransportError("unreachable") if argument else None

    def assertOver(self) -> None:
        """Once all the time there is has passed."""
        self.clock.pump([0.5] * 1200)
        layer = self.layer
        self.assertEqual((layer.server_transactions, layer.client_transactions), (0, 0))
        self.assertEqual(layer._ongoing, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=150, deadline=None)
    @given(METHODS, TRANSPORTS, st.booleans(), CLIENT_EVENTS)
    def test_client(self, method: str, transport: str, broken: bool, events: Events) -> None:
        self.begin()
        heard: list[int] = []
        ended: list[State] = []
        self.common("break", broken)
        request = make_request(method)
        request.headers.remove("Via")
        client: ClientTransaction = self.layer.request(
            request,
            TARGETS[transport],
            on_response=lambda response, _: heard.append(response.status),
        )
        client.on_terminated = lambda: ended.append(client.state)
        for event, argument in events:
            if event == "respond":
                response = client.request.response(argument, to_tag="conf")
                self.layer.receive(response, FLOWS[transport])
            elif event == "cancel":
                client.cancel()
            else:
                self.common(event, argument)
        self.assertOver()
        self.assertEqual(ended, [State.TERMINATED])
        finals = [status for status in heard if status >= 200]
        # One final response, but for the 2xx that INVITE may get several of.
        if method == "INVITE" and finals[0] < 300:
            self.assertTrue(all(status < 300 for status in finals))
        else:
            self.assertEqual(len(finals), 1)
        self.assertEqual(heard[-len(finals) :], finals)

    @settings(max_examples=150, deadline=None)
    @given(METHODS, TRANSPORTS, SERVER_EVENTS)
    def test_server(self, method: str, transport: str, events: Events) -> None:
        self.begin()
        self.layer.receive(make_request(method), FLOWS[transport])
        for event, argument in events:
            if event == "receive":
                self.layer.receive(make_request(argument), FLOWS[transport])
            elif event in ("answer", "refuse"):
                getattr(self.opened[-1], event)(argument)
            else:
                self.common(event, argument)
        self.assertOver()
