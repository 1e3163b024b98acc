"""The proxy of `examples/kamailio` and its users, with a server of ours behind it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from msrpconf.client import Invited, JoinError, UserAgent
from msrpconf.client.referring import ReferError
from msrpconf.client.registration import RegisterError
from msrpconf.protocols.sip.flow import Address
from tests.interop.kamailio import ROOM, SETTINGS, USERS, KamailioCase, password_of
from tests.interop.proxy import EXAMPLE, FOCUS, PROXY, find_kamailio
from tests.interop.test_sipp import answer_late
from tests.interop.watching import Watcher
from tests.scenarios.embedded import joined, when_logged

Story = Generator[Deferred[Any], Any, None]


class MissingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"PATH": "/nowhere"})
        self.patch(shutil, "which", lambda *_, **__: None)

    def test_it_is_said_how_to_get_it(self) -> None:
        error = self.assertRaises(SkipTest, find_kamailio)
        text = "Kamailio is missing: apt install kamailio kamailio-sqlite-modules sqlite3"
        self.assertEqual(str(error), text)

    def test_where_all_is_checked_that_is_a_failure(self) -> None:
        os.environ["CI"] = "true"
        self.assertRaises(AssertionError, find_kamailio)


class SettingsTests(SynchronousTestCase):
    """`settings.cfg` has what the other files use, and no more."""

    def test_each_token_has_a_value(self) -> None:
        settings = (EXAMPLE / "settings.cfg").read_text("utf-8")
        given = re.findall(r'^#!substdef "!(\w+)!', settings, re.MULTILINE)
        used = set()
        for name in ("kamailio.cfg", "relay.cfg"):
            used |= set(re.findall(r"\bMY_\w+\b", (EXAMPLE / name).read_text("utf-8")))
        self.assertEqual(set(given), used)
        self.assertEqual(len(given), len(used))
        # What is here instead of it has the same, but for the relay's.
        ours = re.findall(r'^#!substdef "!(\w+)!', SETTINGS, re.MULTILINE)
        self.assertEqual({*ours, "MY_RELAY"}, used)

    def test_what_can_be_switched_on(self) -> None:
        settings = (EXAMPLE / "settings.cfg").read_text("utf-8")
        switches = set(re.findall(r"^##!define (\w+)$", settings, re.MULTILINE))
        text = (EXAMPLE / "kamailio.cfg").read_text("utf-8")
        self.assertEqual(switches, set(re.findall(r"^#!ifdef (\w+)$", text, re.MULTILINE)))


class TalkCase(KamailioCase):
    """Two users register, join, talk and leave."""

    @inlineCallbacks
    def talk(self, alice_by: str, bob_by: str) -> Story:
        alice, alice_hears = yield self.enter("alice", alice_by)
        bob, bob_hears = yield self.enter("bob", bob_by)
        yield alice.send("Hi")
        self.assertEqual((yield bob_hears.next()).text, "Hi")
        yield bob.send("Hello")
        heard = yield alice_hears.next()
        self.assertEqual((heard.text, heard.sender), ("Hello", f"sip:bob@{USERS}"))
        for each in (alice, bob):
            yield each.leave()
        self.assertEqual(self.service.registry.rooms, {})
        # Each came through the proxy, which said who it was, whatever the order and spelling.
        for invite in self.came("INVITE"):
            asserted = invite.name_addrs("P-Asserted-Identity")
            self.assertEqual([each.uri for each in asserted], [invite.from_.uri])
            self.assertNotIn("Proxy-Authorization", invite.headers)
        self.assertEqual(len(self.came("BYE")), 2)
        self.assertEqual({peer.split(":")[1] for _, peer, _ in self.traced}, {PROXY})


class TalkTests(TalkCase):
    def test_over_udp(self) -> Any:
        return self.talk("udp", "udp")

    def test_over_tcp(self) -> Any:
        return self.talk("tcp", "tcp")

    def test_over_both(self) -> Any:
        return self.talk("tcp", "udp")

    @inlineCallbacks
    def test_domains_in_any_case(self) -> Story:
        agent = self.agent("alice")
        chat, _ = yield joined(agent, "sip:lobby@Conference.Example.COM")
        yield chat.leave()
        self.assertEqual(self.service.registry.rooms, {})

    @inlineCallbacks
    def test_somebody_anonymous(self) -> Story:
        """Nobody is shown who it is, and the focus knows."""
        agent = self.agent("alice")
        agent.user = "sip:anonymous@anonymous.invalid"
        chat, _ = yield joined(agent, ROOM)
        (participant,) = self.service.registry.participants()
        self.assertEqual(participant.identity.proven, (f"sip:alice@{USERS}",))
        self.assertTrue(participant.identity.anonymous)
        yield chat.leave()

    @inlineCallbacks
    def test_who_does_not_wait(self) -> Story:
        """The proxy answers the CANCEL, and brings it; its ACK for the 487 ends that."""
        late = answer_late(self.service, None)
        agent = self.agent("alice")
        joining = agent.join(ROOM)
        yield late.asked
        cancelled = when_logged("cancelled")
        joining.cancel()
        yield self.assertFailure(joining, CancelledError)
        yield self.when_came("ACK")
        self.assertEqual(len(self.came("CANCEL")), 1)
        late.release()
        yield cancelled
        self.assertEqual(self.service.registry.rooms, {})


class AddressContactTests(TalkCase):
    """With our address in Contact, where a proxy sends ACK and BYE without knowing our domain."""

    contact = "address"

    def test_over_both(self) -> Any:
        return self.talk("tcp", "udp")


class LargeTests(KamailioCase):
    """What is too large for a datagram comes over TCP, to the same port of ours."""

    settings = "udp_mtu = 1300\nudp_mtu_try_proto = TCP"

    @inlineCallbacks
    def test_the_proxy_goes_over_to_tcp(self) -> Story:
        alice, _ = yield self.enter("alice", "udp", subject="All about it " * 200)
        transports = {
            peer.split(":")[0] for _, peer, each in self.traced if each.cseq.method == "INVITE"
        }
        self.assertEqual(transports, {"tcp"})
        yield alice.leave()
        self.assertEqual(self.service.registry.rooms, {})

    @inlineCallbacks
    def test_twenty_kilobytes_over_tcp(self) -> Story:
        """More than Kamailio takes by default."""
        alice, _ = yield self.enter("alice", "tcp", subject="All about it " * 1600)
        yield alice.leave()


class WhoTests(KamailioCase):
    """Nobody is taken for who they are not."""

    @inlineCallbacks
    def refusal(self, agent: UserAgent, room: str = ROOM) -> Generator[Any, Any, JoinError]:
        error: JoinError = yield self.assertFailure(agent.join(room), JoinError)
        return error

    @inlineCallbacks
    def test_a_wrong_password(self) -> Story:
        agent = self.agent("alice", password="guessed")
        error = yield self.refusal(agent)
        self.assertEqual(error.status, 407)
        self.assertIn("the password of alice is not right", error.reason)
        error = yield self.assertFailure(agent.register(), RegisterError)
        self.assertEqual(error.status, 401)
        self.assertEqual(self.traced, [])

    @inlineCallbacks
    def test_no_password(self) -> Story:
        error = yield self.refusal(self.agent("alice", password=None))
        self.assertEqual(error.status, 407)
        self.assertIn("a password is asked for", error.reason)

    @inlineCallbacks
    def test_somebody_elses_from(self) -> Story:
        agent = self.agent("alice", password=password_of("alice"))
        agent.user = f"sip:bob@{USERS}"
        error = yield self.refusal(agent)
        self.assertEqual(error.status, 403)
        self.assertIn("From must be the user", error.reason)
        self.assertEqual(self.traced, [])

    @inlineCallbacks
    def test_a_forged_identity_is_taken_out(self) -> Story:
        """Alice says that she is the owner; nobody believes it."""
        forger = self.agent("alice", headers=(("P-Asserted-Identity", f"<sip:bob@{USERS}>"),))
        chat, _ = yield joined(forger, ROOM)
        (invite,) = self.came("INVITE")
        self.assertEqual(invite.headers.get_all("P-Asserted-Identity"), [f"<sip:alice@{USERS}>"])
        (participant,) = self.service.registry.participants()
        self.assertEqual(participant.identity.proven, (f"sip:alice@{USERS}",))
        yield chat.leave()

    @inlineCallbacks
    def test_nobody_comes_past_the_proxy(self) -> Story:
        for transport in ("udp", "tcp"):
            direct = self.agent(
                "alice",
                transport,
                proxy=f"{transport}:{FOCUS}:{self.focus}",
                headers=(("P-Asserted-Identity", f"<sip:bob@{USERS}>"),),
            )
            error = yield self.refusal(direct)
            self.assertEqual(error.status, 403)
            self.assertIn("come through the proxy", error.reason)
        self.assertEqual(self.service.registry.rooms, {})

    @inlineCallbacks
    def test_nobody_uses_the_private_port(self) -> Story:
        stranger = self.agent(
            "alice", proxy=f"udp:{PROXY}:{self.private}", listen="udp:127.0.0.3:0", password=None
        )
        error = yield self.refusal(stranger)
        self.assertEqual(error.status, 403)
        self.assertEqual(self.traced, [])

    @inlineCallbacks
    def test_it_relays_for_nobody(self) -> Story:
        error = yield self.refusal(self.agent("alice"), "sip:lobby@elsewhere.example.org")
        self.assertEqual(error.status, 403)
        self.assertIn("Not a domain of this proxy", error.reason)

    @inlineCallbacks
    def test_a_dialog_that_is_made_up(self) -> Story:
        """Nobody is asked for a password in a dialog: but one must know it."""
        mallory = Watcher("alice", USERS, "", Address("udp", PROXY, self.public))
        yield mallory.start()
        self.addCleanup(mallory.stop)
        for method in ("REFER", "INVITE", "SUBSCRIBE", "BYE"):
            headers = [
                ("Route", f"<sip:{PROXY}:{self.public};lr>"),
                ("From", f"<sip:bob@{USERS}>;tag=made"),
                ("To", f"<{ROOM}>;tag=local.made"),
                ("Contact", "<sip:bob@127.0.0.1:9>"),
                ("P-Asserted-Identity", f"<sip:bob@{USERS}>"),
                ("Refer-To", f"<sip:alice@{USERS};method=BYE>"),
                ("Event", "conference"),
            ]
            _, answer = yield mallory.send(method, ROOM, headers)
            self.assertIn(answer.status, (405, 481), method)
            (came,) = self.came(method)
            self.assertNotIn("P-Asserted-Identity", came.headers)


class ReferTests(KamailioCase):
    """The focus's own requests find registered clients."""

    @inlineCallbacks
    def remove(self, transport: str) -> Generator[Any, Any, list[str]]:
        """Alice removes bob; gives the Route of the BYE that bob gets."""
        alice, _ = yield self.enter("alice")
        _, bob_hears = yield self.enter("bob", transport)
        yield alice.remove(f"sip:bob@{USERS}")
        self.assertIn("Removed by alice", (yield bob_hears.ended))
        (bye,) = self.went("BYE")
        self.assertEqual((yield self.when_answered(bye)), 200)
        yield alice.leave()
        return bye.raw_routes

    @inlineCallbacks
    def test_remove(self) -> Story:
        routes = yield self.remove("udp")
        # The focus goes to the private port, and the proxy on from the other.
        ports = self.private, self.public
        self.assertEqual(routes, [f"<sip:{PROXY}:{port};r2=on;lr>" for port in ports])

    @inlineCallbacks
    def test_remove_over_tcp(self) -> Story:
        """TCP on one side and UDP on the other are two entries of Record-Route, kept in order."""
        routes = yield self.remove("tcp")
        self.assertEqual(
            routes,
            [
                f"<sip:{PROXY}:{self.private};r2=on;lr>",
                f"<sip:{PROXY}:{self.public};transport=tcp;r2=on;lr>",
            ],
        )
        (bye,) = self.went("BYE")
        # How the proxy finds the connection again.
        self.assertIn("alias=", str(bye.uri))

    @inlineCallbacks
    def invite(self, transport: str) -> Story:
        invited: Deferred[Invited] = Deferred()
        carol = self.agent("carol", transport, on_invited=invited.callback)
        yield carol.register()
        alice, alice_hears = yield self.enter("alice")
        asking = alice.invite(f"sip:carol@{USERS}")
        invitation = yield invited
        self.assertEqual(invitation.room, ROOM)
        chat = yield invitation.accept()
        outcome = yield asking
        self.assertEqual(outcome.status, 200)
        yield chat.send("Here I am")
        self.assertEqual((yield alice_hears.next()).text, "Here I am")
        for each in (chat, alice):
            yield each.leave()
        # What became of it came back through the proxy, in the dialog of the REFER.
        self.assertTrue(self.came("NOTIFY"))

    def test_invite(self) -> Any:
        return self.invite("udp")

    def test_invite_over_tcp(self) -> Any:
        return self.invite("tcp")

    @inlineCallbacks
    def test_who_is_not_registered(self) -> Story:
        alice, _ = yield self.enter("alice")
        error = yield self.assertFailure(alice.invite(f"sip:carol@{USERS}"), ReferError)
        self.assertEqual(error.status, 480)
        yield alice.leave()
