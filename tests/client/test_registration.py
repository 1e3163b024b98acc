"""Being registered: again in time, longer where that is asked for, and no more at the end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.registration import RETRY, SHORTEST, RegisterError, Registration
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.uri import URI

PROXY = Address("udp", "192.0.2.9", 5060)
CONTACT = "<sip:alice@192.0.2.1:5070>"


class Agent:
    """What a registration needs of a user agent."""

    user = "sip:alice@example.com"
    display_name = None

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[Request, Deferred[Response]]] = []
        self.known = True
        self.addresses = [PROXY]
        self.went_to: list[Address] = []
        self.closed: set[Address] = set()

    def locate_proxy(self, uri: URI) -> Deferred[list[Address]]:
        return succeed(self.addresses) if self.known else fail(LocateError(f"{uri}: nowhere"))

    def contact_towards(self, address: Address, *, sips: bool = False) -> Deferred[str]:
        if address in self.closed:
            return fail(TransportError(f"{address}: Connection refused"))
        return succeed(CONTACT)

    def send_to(self, request: Request, address: Address) -> Deferred[Response]:
        self.went_to.append(address)
        self.sent.append((request, Deferred()))
        return self.sent[-1][1]


class RegistrationTests(SynchronousTestCase):
    def setUp(self) -> None:
        agent: Any = Agent()
        self.agent: Agent = agent
        self.registration = Registration(agent, 3600)

    def answer(self, status: int = 200, *headers: tuple[str, str]) -> None:
        request, answered = self.agent.sent[-1]
        answered.callback(request.response(status, headers=headers))

    def begin(self, *contacts: str) -> None:
        beginning = self.registration.begin()
        self.answer(200, *(("Contact", each) for each in contacts))
        self.assertIsNone(self.successResultOf(beginning))

    def test_as_it_is_sent(self) -> None:
        self.begin()
        request = self.agent.sent[0][0]
        self.assertEqual(str(request.uri), "sip:example.com")
        self.assertEqual(str(request.to.uri), str(request.from_.uri))
        self.assertEqual(request.headers.get("Contact"), CONTACT)
        self.assertEqual(request.expires, 3600)

    def test_again_before_it_is_over(self) -> None:
        self.begin("<sip:alice@192.0.2.7>;expires=20", f"{CONTACT};expires=600")
        self.agent.clock.advance(479)
        self.assertEqual(len(self.agent.sent), 1)
        self.agent.clock.advance(1)
        first, second = (each[0] for each in self.agent.sent)
        self.assertEqual(first.call_id, second.call_id)
        self.assertGreater(second.cseq.number, first.cseq.number)

    def test_not_too_often(self) -> None:
        self.begin(f"{CONTACT};expires=0")
        self.agent.clock.advance(SHORTEST - 1)
        self.assertEqual(len(self.agent.sent), 1)

    def test_too_short(self) -> None:
        beginning = self.registration.begin()
        self.answer(423, ("Min-Expires", "7200"))
        self.assertEqual(self.agent.sent[-1][0].expires, 7200)
        self.answer()
        self.successResultOf(beginning)

    def test_refused(self) -> None:
        beginning = self.registration.begin()
        self.answer(403)
        error = self.failureResultOf(beginning, RegisterError).value
        self.assertEqual(error.status, 403)
        self.assertEqual(self.agent.clock.getDelayedCalls(), [])

    def test_the_next_of_several_registrars(self) -> None:
        others = [Address("tls", f"192.0.2.{number}", 5061, "example.com") for number in (1, 2, 3)]
        self.agent.addresses = [PROXY, *others]
        self.agent.closed.add(others[0])
        beginning = self.registration.begin()
        self.answer(503)
        self.answer(408)
        self.answer()
        self.successResultOf(beginning)
        self.assertEqual(self.agent.went_to, [PROXY, *others[1:]])
        # It is the one that knows us who is told of the end.
        self.registration.end()
        self.assertEqual(self.agent.went_to[-1], others[2])

    def test_none_of_several_registrars(self) -> None:
        self.agent.addresses = [PROXY, Address("tls", "192.0.2.1", 5061)]
        self.agent.closed.add(self.agent.addresses[1])
        beginning = self.registration.begin()
        self.answer(403)
        self.assertEqual(self.failureResultOf(beginning, RegisterError).value.status, 403)
        beginning = self.registration.begin()
        self.answer(503)
        error = self.failureResultOf(beginning, RegisterError).value
        self.assertIn("Connection refused", error.reason)

    def test_no_such_domain(self) -> None:
        self.agent.known = False
        error = self.failureResultOf(self.registration.begin(), RegisterError).value
        self.assertEqual(error.status, 503)

    def test_a_registrar_that_is_away_for_a_while(self) -> None:
        self.begin()
        self.agent.clock.advance(2880)
        self.answer(503)
        self.agent.clock.advance(RETRY)
        self.assertEqual(len(self.agent.sent), 3)
        self.answer()
        self.agent.clock.advance(2880)
        self.assertEqual(len(self.agent.sent), 4)

    def test_the_end(self) -> None:
        self.begin()
        ending = self.registration.end()
        self.assertEqual(self.agent.sent[-1][0].expires, 0)
        self.assertNoResult(ending)
        self.answer()
        self.successResultOf(ending)
        self.assertEqual(self.agent.clock.getDelayedCalls(), [])

    def test_the_end_of_none(self) -> None:
        self.successResultOf(self.registration.end())
        self.assertEqual(self.agent.sent, [])
