"""Which way requests go through the proxy: to clients behind a NAT, to a focus by TCP, to none."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import Invited, JoinError, UserAgent
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.message import Response
from tests.interop.kamailio import ROOM, USERS, KamailioCase
from tests.interop.proxy import PROXY
from tests.scenarios.embedded import joined

Story = Generator[Deferred[Any], Any, None]


class BehindNat(UserAgent):
    """A user agent whose Contact leads nowhere: the address that it has behind a NAT."""

    def __init__(self, reactor: Any, user: str, **options: Any) -> None:
        super().__init__(reactor, user, **options)
        name = user.removeprefix("sip:").partition("@")[0]

        def contact(local: Address, *, sips: bool = False) -> str:
            suffix = "" if local.transport == "udp" else f";transport={local.transport}"
            return f"<sip:{name}@10.99.99.99:5099{suffix}>"

        self._ends.contact = contact  # type: ignore[method-assign]


class NatTests(KamailioCase):
    """The focus's requests reach clients by the way that they came."""

    @inlineCallbacks
    def removed(self, transport: str) -> Story:
        """Bob gets the BYE that removes him, also after an answer with his Contact."""
        alice, _ = yield self.enter("alice")
        bob = self.agent("bob", transport, kind=BehindNat)
        yield bob.register()
        _, bob_hears = yield joined(bob, ROOM)
        yield self.asked_whether_there(f"sip:bob@{USERS}")
        yield alice.remove(f"sip:bob@{USERS}")
        self.assertIn("Removed by alice", (yield bob_hears.ended))
        (bye,) = self.went("BYE")
        self.assertEqual((yield self.when_answered(bye)), 200)
        # How the proxy finds the way: untouched in the Request-URI.
        (invite,) = (each for each in self.came("INVITE") if "bob" in str(each.from_.uri))
        self.assertEqual(str(bye.uri), str(invite.contacts[0].uri))
        self.assertRegex(
            str(bye.uri), r"^sip:bob@10\.99\.99\.99:5099.*;alias=127\.0\.0\.1~\d+~[12]$"
        )
        yield alice.leave()

    @inlineCallbacks
    def asked_whether_there(self, user: str) -> Story:
        """Half the time of the session timer is over (RFC 4028)."""
        (participant,) = (
            each for each in self.service.registry.participants() if each.identity.key == user
        )
        timer = participant.session_timer
        assert timer is not None and timer.call is not None
        timer.call.reset(0)
        answer = yield self.when(
            lambda each: isinstance(each, Response) and each.cseq.method == "UPDATE"
        )
        self.assertEqual(answer.status, 200)
        self.assertIn(";alias=127.0.0.1~", str(answer.contacts[0].uri))

    def test_removed_over_udp(self) -> Any:
        return self.removed("udp")

    def test_removed_over_tcp(self) -> Any:
        return self.removed("tcp")

    @inlineCallbacks
    def invited(self, transport: str) -> Story:
        """Carol, who is only registered, gets the REFER, and comes."""
        asked: Deferred[Invited] = Deferred()
        carol = self.agent("carol", transport, kind=BehindNat, on_invited=asked.callback)
        yield carol.register()
        alice, alice_hears = yield self.enter("alice")
        asking = alice.invite(f"sip:carol@{USERS}")
        invitation = yield asked
        chat = yield invitation.accept()
        outcome = yield asking
        self.assertEqual(outcome.status, 200)
        yield chat.send("Here I am")
        self.assertEqual((yield alice_hears.next()).text, "Here I am")
        # The REFER went to the user's own address, and nowhere else, by the private port.
        (refer,) = self.went("REFER")
        self.assertEqual((str(refer.uri), refer.raw_routes), (f"sip:carol@{USERS}", []))
        self.assertTrue(self.came("NOTIFY"))
        for each in (chat, alice):
            yield each.leave()

    def test_invited_over_udp(self) -> Any:
        return self.invited("udp")

    def test_invited_over_tcp(self) -> Any:
        return self.invited("tcp")


class TcpTests(KamailioCase):
    """Focus and proxy reach each other over TCP, where ports tell nothing."""

    focus_transport = ";transport=tcp"
    private_transport = ";transport=tcp"

    @inlineCallbacks
    def test_all_of_it(self) -> Story:
        asked: Deferred[Invited] = Deferred()
        carol = self.agent("carol", on_invited=asked.callback)
        yield carol.register()
        alice, alice_hears = yield self.enter("alice")
        asking = alice.invite(f"sip:carol@{USERS}")
        chat = yield (yield asked).accept()
        self.assertEqual((yield asking).status, 200)
        yield chat.send("Here I am")
        self.assertEqual((yield alice_hears.next()).text, "Here I am")
        yield chat.leave()
        _, bob_hears = yield self.enter("bob")
        yield alice.remove(f"sip:bob@{USERS}")
        self.assertIn("Removed by alice", (yield bob_hears.ended))
        (bye,) = self.went("BYE")
        self.assertEqual((yield self.when_answered(bye)), 200)
        yield alice.leave()
        self.assertEqual({peer.split(":")[0] for _, peer, _ in self.traced}, {"tcp"})

    @inlineCallbacks
    def test_a_focus_that_is_not_there(self) -> Story:
        """The caller is told so at once."""
        yield self.service.stopService()
        error = yield self.assertFailure(self.agent("alice").join(ROOM), JoinError)
        self.assertEqual(error.status, 477)


class UsualPortTests(KamailioCase):
    """At port 5060, which Kamailio leaves out of Via and Record-Route."""

    public = 5060

    @inlineCallbacks
    def test_no_ports(self) -> Story:
        _, alice_hears = yield self.enter("alice")
        bob, _ = yield self.enter("bob", "tcp")
        yield bob.leave()
        invite = self.came("INVITE")[0]
        routes = [f"<sip:{PROXY}:{self.private};r2=on;lr>", f"<sip:{PROXY};r2=on;lr>"]
        self.assertEqual(invite.raw_record_routes, routes)
        self.assertNotIn(":5060", str(invite.headers))
        # Where it stands is no matter: Kamailio adds it at the end.
        names = [name.lower() for name, _ in invite.headers]
        self.assertLess(names.index("content-length"), names.index("p-asserted-identity"))
        yield self.service.stopService()
        self.assertIn("shutting down", (yield alice_hears.ended))
        byes = self.went("BYE")
        self.assertEqual(byes[-1].raw_routes, routes)
