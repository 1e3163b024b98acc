"""sipp (Debian's sip-tester) joins, leaves, refers, gives up, repeats itself, forgets its ACK."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from msrpconf.protocols.channel import Channel
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services.compose import ConferenceService
from tests.interop.peers import SippCase, find_sipp

CALLS = 300


class LateChannel:
    """A channel whose server takes its time to answer: some seconds, or until `release`."""

    def __init__(self, channel: Channel, seconds: float | None) -> None:
        self.late: list[Deferred[Response]] = []
        self.held: list[tuple[Deferred[Response], Response]] = []
        self.asked: Deferred[None] = Deferred()
        self._channel = channel
        self._seconds = seconds

    def request(self, message: Request) -> Deferred[Response]:
        answer = self._channel.request(message)
        return answer.addCallback(self._late)

    def _late(self, response: Response) -> Deferred[Response]:
        if self._seconds is None:
            late: Deferred[Response] = Deferred()
            self.held.append((late, response))
            if not self.asked.called:
                self.asked.callback(None)
        else:
            reactor: Any = import_module("twisted.internet.reactor")
            late = deferLater(reactor, self._seconds, lambda: response)
        self.late.append(late)
        return late

    def release(self) -> None:
        """Give all answers that were held."""
        held, self.held, self._seconds = self.held, [], 0.0
        for late, response in held:
            late.callback(response)

    def wait(self) -> Deferred[Any]:
        """Done when all that was to come late has come."""
        return DeferredList(self.late)


def answer_late(service: ConferenceService, seconds: float | None) -> LateChannel:
    """Have the server behind the focus take its time."""
    focus = service.focus.focus
    assert focus.channel is not None
    late = focus.channel = LateChannel(focus.channel, seconds)
    return late


class MissingTests(SynchronousTestCase):
    """sipp is not there."""

    def setUp(self) -> None:
        self.patch(os, "environ", {"PATH": "/nowhere"})

    def test_it_is_said_how_to_get_it(self) -> None:
        error = self.assertRaises(SkipTest, find_sipp)
        self.assertEqual(str(error), "sipp is missing: apt install sip-tester")

    def test_where_all_is_checked_that_is_a_failure(self) -> None:
        os.environ["CI"] = "true"
        error = self.assertRaises(AssertionError, find_sipp)
        self.assertEqual(str(error), "sipp is missing: apt install sip-tester")


class JoinTests(SippCase):
    """Three hundred come and go, and none has anything to complain of."""

    @inlineCallbacks
    def join_and_leave(
        self, mode: str, host: str = "127.0.0.1", calls: int = CALLS
    ) -> Generator[Deferred[Any], Any, None]:
        service = yield self.serve(host)
        run = yield self.run_sipp("join", calls=calls, mode=mode)
        self.assertSucceeded(run, calls)
        self.assertEqual(self.logged("joined: "), calls)
        self.assertEqual(self.logged("left: "), calls)
        self.assertEqual(service.registry.rooms, {})
        self.assertEqual(self.sent(b"BYE ", b"1 BYE"), 0)

    def test_over_udp(self) -> Any:
        return self.join_and_leave("u1")

    def test_over_tcp_by_one_connection(self) -> Any:
        return self.join_and_leave("t1")

    def test_over_tcp_by_a_connection_each(self) -> Any:
        return self.join_and_leave("tn")

    def test_over_ipv6(self) -> Any:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind(("::1", 0))
        except OSError:
            raise SkipTest("this machine has no IPv6") from None
        return self.join_and_leave("u1", "::1", 50)

    @inlineCallbacks
    def test_over_udp_that_loses(self) -> Generator[Deferred[Any], Any, None]:
        """One datagram of twenty is lost: INVITE, 200, ACK, BYE, whichever it is."""
        service = yield self.serve(ack_timeout=30.0)
        run = yield self.run_sipp("join", "-lost", "5", calls=100, at_once=100)
        self.assertSucceeded(run, 100)
        self.assertGreater(run.repeated, 0)
        self.assertEqual(self.logged("expected: "), 100)
        # Where ACK and BYE were both lost, sipp takes the 200 that comes again for that to its
        # BYE, and goes without a word. All others have left, each of them once.
        leaving = self.heard(b"BYE ")
        self.assertGreater(len(leaving), 90)
        self.assertEqual(self.logged("left: "), len(leaving))
        inside = {each.dialog.call_id for each in service.registry.participants()}
        self.assertEqual(inside, self.heard(b"INVITE ") - leaving)


class CancelTests(SippCase):
    @inlineCallbacks
    def test_before_the_answer(self) -> Generator[Deferred[Any], Any, None]:
        for mode in ("u1", "t1"):
            service = yield self.serve()
            channel = answer_late(service, None)
            self.traced.clear()
            run = yield self.run_sipp("cancel", calls=20, mode=mode)
            channel.release()
            yield channel.wait()
            self.assertSucceeded(run, 20)
            self.assertEqual(self.sent(b"SIP/2.0 487 ", b"1 INVITE"), 20)
            self.assertEqual(self.sent(b"SIP/2.0 200 ", b"1 INVITE"), 0)
            self.assertEqual(service.registry.rooms, {})

    @inlineCallbacks
    def test_after_the_answer(self) -> Generator[Deferred[Any], Any, None]:
        service = yield self.serve()
        run = yield self.run_sipp("cancel_late", calls=20)
        self.assertSucceeded(run, 20)
        self.assertEqual(self.logged("joined: "), 20)
        self.assertEqual(service.registry.rooms, {})


class CallTests(SippCase):
    @inlineCallbacks
    def test_options(self) -> Generator[Deferred[Any], Any, None]:
        service = yield self.serve()
        for mode in ("u1", "t1"):
            run = yield self.run_sipp("options", calls=50, mode=mode)
            self.assertSucceeded(run, 50)
        self.assertEqual(service.registry.rooms, {})

    @inlineCallbacks
    def test_repetitions(self) -> Generator[Deferred[Any], Any, None]:
        """An INVITE thrice is one, a BYE twice is one; the 200 comes until the ACK."""
        channel = answer_late((yield self.serve()), 0.1)
        run = yield self.run_sipp("repetitions", calls=10)
        yield channel.wait()
        self.assertSucceeded(run, 10)
        self.assertEqual(self.logged("expected: "), 10)
        self.assertEqual(self.logged("joined: "), 10)
        self.assertEqual(self.logged("left: "), 10)
        # At once, after 0.5 s and after 1.5 s; the ACK comes after 2.5 s.
        self.assertEqual(self.sent(b"SIP/2.0 200 ", b"1 INVITE"), 30)
        self.assertEqual(self.sent(b"SIP/2.0 200 ", b"9 BYE"), 10)

    @inlineCallbacks
    def test_no_ack(self) -> Generator[Deferred[Any], Any, None]:
        for mode in ("u1", "t1", "tn"):
            service = yield self.serve(ack_timeout=1.0)
            self.lines.clear()
            self.traced.clear()
            run = yield self.run_sipp("no_ack", calls=20, mode=mode)
            self.assertSucceeded(run, 20)
            self.assertEqual(self.logged("dropped: No ACK within 1 s"), 20)
            # The 200 is repeated over TCP too, and not after the BYE.
            self.assertEqual(self.sent(b"SIP/2.0 200 ", b"1 INVITE"), 40)
            self.assertEqual(service.registry.rooms, {})

    @inlineCallbacks
    def test_the_offer_is_ours(self) -> Generator[Deferred[Any], Any, None]:
        yield self.serve()
        for mode in ("u1", "t1"):
            self.lines.clear()
            run = yield self.run_sipp("offerless", calls=20, mode=mode)
            self.assertSucceeded(run, 20)
            self.assertEqual(self.logged("joined: "), 20)
            self.assertEqual(self.logged("left: "), 20)

    @inlineCallbacks
    def test_another_description(self) -> Generator[Deferred[Any], Any, None]:
        yield self.serve()
        for mode in ("u1", "tn"):
            self.lines.clear()
            run = yield self.run_sipp("renegotiate", calls=20, mode=mode)
            self.assertSucceeded(run, 20)
            self.assertEqual(self.logged("joined: "), 20)
            self.assertEqual(self.logged("left: "), 20)
            self.assertEqual(self.logged("refused: "), 0)


class ReferTests(SippCase):
    @inlineCallbacks
    def test_in_a_dialog(self) -> Generator[Deferred[Any], Any, None]:
        """The owner's other devices have one after another removed."""
        service = yield self.serve()
        yield self.join("alice")
        for mode in ("u1", "t1"):
            yield self.join(*(f"bob{number}" for number in range(1, 21)))
            self.lines.clear()
            run = yield self.run_sipp("refer", calls=20, mode=mode)
            self.assertSucceeded(run, 20)
            self.assertEqual(self.logged("dropped: Removed by alice@example.com"), 20)
            self.assertEqual(len(service.registry.participants()), 1)

    @inlineCallbacks
    def test_outside_of_a_dialog(self) -> Generator[Deferred[Any], Any, None]:
        service = yield self.serve()
        yield self.join("alice", "bob")
        removing = "<sip:bob@example.com>;method=BYE"
        run = yield self.run_sipp("refer_outside", "-key", "refer_to", removing)
        self.assertSucceeded(run, 1)
        self.assertEqual(self.logged("dropped: Removed by alice@example.com"), 1)
        self.assertEqual(len(service.registry.participants()), 1)
        # Who is in need not be invited.
        inviting = "<sip:alice@example.com>"
        for mode in ("u1", "t1", "tn"):
            run = yield self.run_sipp(
                "refer_outside", "-key", "refer_to", inviting, calls=50, mode=mode
            )
            self.assertSucceeded(run, 50)
