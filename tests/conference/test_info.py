"""What watchers are told of a room: every document here is valid by the schema of RFC 4575."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from lxml import etree

from msrpconf.conference.info import LINGER, MAX_GONE, RoomInfo
from msrpconf.conference.roles import Role
from msrpconf.conference.states import Change, ConferenceInfo, ConferenceStates, ended_document
from msrpconf.conference.static import StaticRoom, StaticRooms
from msrpconf.protocols.msrp.frame import encode, new_transaction
from msrpconf.protocols.sip.headers import Reason
from tests.conference.referring import ReferTestCase
from tests.conference.support import ROOM, Client
from tests.documents import NAMES, NICKNAME, endpoints, read, text, texts, users

KEY = ROOM
ALICE, BOB, CAROL = "sip:alice@home.com", "sip:bob@home.com", "sip:carol@home.com"


class InfoTestCase(ReferTestCase):
    def setUp(self) -> None:
        super().setUp()
        states: ConferenceStates = self.registry
        self.changes: list[Change | None] = []
        states.watch(self.note)
        self.clock.advance(1000)

    def note(self, key: str, info: ConferenceInfo, change: Change | None) -> None:
        self.assertEqual(key, KEY)
        self.changes.append(change)

    @property
    def info(self) -> RoomInfo:
        return self.room.info

    def full(self) -> etree._Element:
        return read(self.info.full(1))

    def partial(self) -> etree._Element:
        """What has changed since the last time."""
        changes, self.changes = self.changes, []
        merged = Change()
        for each in changes:
            assert each is not None
            merged = merged.then(each)
        return read(self.info.partial(merged, 2))

    def user(self, uri: str) -> etree._Element:
        return users(self.full())[uri]

    def nickname(self, client: Client, name: str) -> None:
        client.connected.says(
            encode(
                b"NICKNAME",
                new_transaction(),
                [
                    (b"To-Path", (client.line.attribute("path") or "").encode()),
                    (b"From-Path", client.path.encode()),
                    (b"Use-Nickname", f'"{name}"'.encode()),
                ],
            )
        )
        self.assertEqual(client.told(), ["200 OK"])


class RoomTests(InfoTestCase):
    def test_the_first_one(self) -> None:
        self.joined("alice")
        root = self.full()
        self.assertEqual(
            (root.get("entity"), root.get("state"), root.get("version")), (ROOM, "full", "1")
        )
        self.assertEqual(text(root, "conference-state/user-count"), "1")
        self.assertEqual(text(root, "conference-state/active"), "true")
        self.assertEqual(text(root, "conference-state/locked"), "false")
        about = "conference-description"
        self.assertEqual(text(root, f"{about}/conf-uris/entry/uri"), ROOM)
        self.assertEqual(text(root, f"{about}/conf-uris/entry/purpose"), "participation")
        self.assertEqual(text(root, f"{about}/service-uris/entry/purpose"), "event")
        self.assertEqual(text(root, f"{about}/maximum-user-count"), "1000")
        self.assertEqual(text(root, f"{about}/available-media/entry/type"), "message")
        (alice,) = users(root).values()
        self.assertEqual(texts(alice, "roles/entry"), ["owner"])
        self.assertEqual(endpoints(alice), {"sip:alice@alice.example.com:5070": "connected"})
        self.assertEqual(text(alice, "endpoint/joining-method"), "dialed-in")
        self.assertEqual(text(alice, "endpoint/joining-info/when"), "1970-01-01T00:16:40Z")
        self.assertEqual(text(alice, "endpoint/media/type"), "message")
        self.assertEqual(text(alice, "endpoint/media/status"), "sendrecv")

    def test_who_is_only_expected_is_not_told(self) -> None:
        self.joined("alice")
        self.client("bob").invite()
        self.assertEqual(list(users(self.full())), [ALICE])
        self.assertFalse(self.info.has_user(BOB))
        self.assertTrue(self.info.has_user(ALICE))
        self.assertTrue(self.info.has_owner(ALICE))

    def test_a_partial_document_has_what_changed(self) -> None:
        self.joined("alice")
        self.partial()
        self.joined("bob")
        root = self.partial()
        self.assertEqual(root.get("state"), "partial")
        self.assertEqual(list(users(root)), [BOB])
        self.assertEqual(text(root, "conference-state/user-count"), "2")
        self.assertIsNone(text(root, "conference-description/maximum-user-count"))

    def test_two_devices_of_one_user(self) -> None:
        self.joined("alice")
        self.joined("alice", "2")
        self.assertEqual(
            endpoints(self.user(ALICE)),
            {
                "sip:alice@alice.example.com:5070": "connected",
                "sip:alice@alice2.example.com:5070": "connected",
            },
        )
        self.assertEqual(text(self.full(), "conference-state/user-count"), "1")

    def test_two_devices_of_one_contact(self) -> None:
        first, second = self.client("alice"), self.client("alice", "2")
        second.headers = first.headers
        first.join()
        second.join()
        self.assertEqual(len(endpoints(self.user(ALICE))), 2)

    def test_the_subject(self) -> None:
        self.joined("alice")
        self.partial()
        self.room.subject = "Fish & <chips>"
        root = self.partial()
        self.assertEqual(text(root, "conference-description/subject"), "Fish & <chips>")
        self.assertEqual(users(root), {})
        self.room.subject = "Fish & <chips>"
        self.assertEqual(self.changes, [])

    def test_who_hosts_it(self) -> None:
        self.joined("alice")
        self.assertIsNone(text(self.full(), "host-info/display-text"))
        self.partial()
        settings = self.room.settings
        page = "https://www.example.com/?a=b&c=d"
        self.room.configure(evolve(settings, host="Example & Sons", host_page=page))
        root = self.partial()
        self.assertEqual(text(root, "host-info/display-text"), "Example & Sons")
        self.assertEqual(text(root, "host-info/web-page"), page)
        self.room.configure(self.room.settings)
        self.assertEqual(self.changes, [])

    def test_the_lock(self) -> None:
        self.joined("alice")
        self.partial()
        self.room.roles = evolve(self.room.roles, locked=True)
        self.assertEqual(text(self.partial(), "conference-state/locked"), "true")

    def test_a_nickname(self) -> None:
        alice = self.joined("alice")
        self.full()
        self.partial()
        self.nickname(alice, r"Alice \"the\" <great> & \\ small")
        (found,) = users(self.partial()).values()
        self.assertEqual(found.get(NICKNAME), 'Alice "the" <great> & \\ small')

    def test_a_role(self) -> None:
        self.joined("alice")
        self.joined("bob")
        self.full()
        self.partial()
        self.room.roles = self.room.roles.assign((BOB,), Role.MODERATOR)
        root = self.partial()
        self.assertEqual(texts(users(root)[BOB], "roles/entry"), ["moderator"])
        self.assertEqual(list(users(root)), [BOB])

    def test_who_is_muted(self) -> None:
        self.joined("alice")
        self.joined("bob")
        self.room.roles = self.room.roles.mute((BOB,))
        bob = self.user(BOB)
        self.assertEqual(text(bob, "endpoint/status"), "muted-via-focus")
        self.assertEqual(text(bob, "endpoint/media/status"), "recvonly")

    def test_hold_and_back(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        self.full()
        self.partial()
        for direction, status, media in (
            ("sendonly", "on-hold", "sendonly"),
            ("inactive", "on-hold", "inactive"),
            ("recvonly", "connected", "recvonly"),
            ("sendrecv", "connected", "sendrecv"),
        ):
            self.assertEqual(bob.send("UPDATE", bob.offer(direction)).status, 200)
            (found,) = users(self.partial()).values()
            self.assertEqual(text(found, "endpoint/status"), status)
            self.assertEqual(text(found, "endpoint/media/status"), media)
        bob.send("UPDATE", bob.offer("sendrecv"))
        self.assertEqual(self.changes, [])

    def test_a_contact_that_moves(self) -> None:
        alice = self.joined("alice")
        self.full()
        alice.headers = (("Contact", "<sip:alice@elsewhere.example.com>"),)
        alice.send("UPDATE")
        self.assertEqual(
            endpoints(self.user(ALICE)), {"sip:alice@elsewhere.example.com": "connected"}
        )

    def test_a_summary_has_nobody(self) -> None:
        self.joined("alice")
        root = read(self.info.summary(7))
        self.assertEqual(users(root), {})
        self.assertEqual(text(root, "conference-state/user-count"), "1")

    def test_a_static_room_is_told_of_without_anybody(self) -> None:
        rooms = StaticRooms(self.control)
        rooms.put(StaticRoom(ROOM, subject="Fish", display_text="Lobby", free_text="One\nTwo"))
        root = self.partial()
        self.assertEqual(text(root, "conference-description/display-text"), "Lobby")
        self.assertEqual(text(root, "conference-description/free-text"), "One\nTwo")
        rooms.remove(KEY)
        self.assertIsNone(self.changes[-1])


class LeavingTests(InfoTestCase):
    def test_who_says_bye(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        self.partial()
        bob.send("BYE")
        root = self.partial()
        self.assertEqual(text(root, "conference-state/user-count"), "1")
        (found,) = users(root).values()
        self.assertEqual(text(found, "endpoint/status"), "disconnected")
        self.assertEqual(text(found, "endpoint/disconnection-method"), "departed")
        self.assertEqual(text(found, "endpoint/disconnection-info/when"), "1970-01-01T00:16:40Z")
        self.assertEqual(found.findall("c:endpoint/c:media", NAMES), [])
        self.assertFalse(self.info.has_user(BOB))
        self.clock.advance(LINGER)
        (found,) = users(self.partial()).values()
        self.assertEqual((found.get("entity"), found.get("state"), len(found)), (BOB, "deleted", 0))
        self.assertEqual(list(users(self.full())), [ALICE])

    def test_one_device_of_two(self) -> None:
        self.joined("alice")
        second = self.joined("alice", "2")
        self.partial()
        second.send("BYE")
        root = self.partial()
        self.assertIsNone(text(root, "conference-state/user-count"))
        self.assertEqual(
            list(endpoints(users(root)[ALICE]).values()), ["connected", "disconnected"]
        )
        self.clock.advance(LINGER)
        self.assertEqual(list(endpoints(self.user(ALICE)).values()), ["connected"])

    def test_who_comes_back_at_once(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        bob.send("BYE")
        self.joined("bob")
        self.assertEqual(list(endpoints(self.user(BOB)).values()), ["connected"])
        self.clock.advance(LINGER)
        self.assertEqual(list(endpoints(self.user(BOB)).values()), ["connected"])

    def test_who_is_sent_out(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        self.control.expel(bob.participant, Reason("SIP", 403, "Too loud"))
        found = self.user(BOB)
        self.assertEqual(text(found, "endpoint/disconnection-method"), "booted")
        self.assertEqual(
            text(found, "endpoint/disconnection-info/reason"),
            'Reason: SIP;cause=403;text="Too loud"',
        )

    def test_who_is_removed_by_somebody(self) -> None:
        alice = self.joined("alice")
        self.joined("bob")
        alice.send("REFER", headers=(("Refer-To", f"<{BOB};method=BYE>"),))
        found = self.user(BOB)
        self.assertEqual(text(found, "endpoint/disconnection-method"), "booted")
        self.assertEqual(text(found, "endpoint/disconnection-info/by"), ALICE)

    def test_who_is_lost(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        bob.connected.vanishes()
        self.assertEqual(list(endpoints(self.user(BOB)).values()), ["connected"])
        self.clock.advance(self.settings.grace)
        self.assertEqual(text(self.user(BOB), "endpoint/disconnection-method"), "failed")

    def test_the_last_one(self) -> None:
        alice = self.joined("alice")
        info = self.info
        alice.send("BYE")
        self.assertIsNone(self.changes[-1])
        self.assertIsNone(self.registry.find(KEY))
        self.assertEqual(self.clock.getDelayedCalls()[1:], [])
        root = read(ended_document(info.uri, 9))
        self.assertEqual((root.get("state"), root.get("version"), len(root)), ("deleted", "9", 0))
        self.assertEqual(users(read(info.full(10))), {})

    def test_no_more_than_some_are_shown_as_gone(self) -> None:
        self.joined("alice")
        for index in range(MAX_GONE + 20):
            self.joined(f"u{index}").send("BYE")
        self.assertEqual(len(users(self.full())), 1 + MAX_GONE)
        self.clock.advance(LINGER)
        self.assertEqual(len(users(self.full())), 1)

    def test_a_server_that_stops_leaves_no_timer(self) -> None:
        StaticRooms(self.control).put(StaticRoom(ROOM))
        self.joined("alice").send("BYE")
        self.joined("bob")
        self.control.close(Reason("SIP", 503, "Stopping"))
        self.assertEqual(users(self.full()), {})
        self.assertNotIn("RoomInfo", str(self.clock.getDelayedCalls()))


class InvitationTests(InfoTestCase):
    def test_who_is_invited_and_comes(self) -> None:
        alice = self.joined("alice")
        self.partial()
        self.refer(alice, f"<{CAROL}>")
        (found,) = users(self.partial()).values()
        self.assertEqual(endpoints(found), {CAROL: "dialing-out"})
        self.assertEqual(text(found, "endpoint/referred/by"), ALICE)
        self.answer_refers()
        (found,) = users(self.partial()).values()
        self.assertEqual(endpoints(found), {CAROL: "pending"})
        self.joined("carol")
        root = self.partial()
        self.assertEqual(text(root, "conference-state/user-count"), "2")
        found = users(root)[CAROL]
        self.assertEqual(endpoints(found), {"sip:carol@carol.example.com:5070": "connected"})
        self.assertEqual(text(found, "endpoint/referred/by"), ALICE)
        self.assertEqual(text(found, "endpoint/joining-info/by"), ALICE)

    def test_who_is_busy_and_who_declines(self) -> None:
        alice = self.joined("alice")
        for uri, status, method in ((BOB, 486, "busy"), (CAROL, 603, "failed")):
            self.refer(alice, f"<{uri}>")
            self.answer_refers(status)
            found = self.user(uri)
            self.assertEqual(endpoints(found), {uri: "disconnected"})
            self.assertEqual(text(found, "endpoint/disconnection-method"), method)
            reason = text(found, "endpoint/disconnection-info/reason") or ""
            self.assertTrue(reason.startswith(f"Reason: SIP;cause={status};text="), reason)
        self.assertEqual(text(self.full(), "conference-state/user-count"), "1")
        self.clock.advance(LINGER)
        self.assertEqual(list(users(self.full())), [ALICE])


class PrivacyTests(InfoTestCase):
    def test_who_is_anonymous_shows_nothing_of_themselves(self) -> None:
        self.joined("alice")
        options: dict[str, Any] = {"from_": "<sip:anonymous@anonymous.invalid>;tag=x"}
        bob = self.client("bob", **options)
        bob.headers = (*bob.headers, ("P-Asserted-Identity", f"Bob <{BOB}>"))
        bob.join()
        document = self.info.full(1)
        self.assertNotIn(b"bob", document.lower())
        (uri,) = set(users(read(document))) - {ALICE}
        self.assertTrue(uri.endswith("@anonymous.invalid"), uri)
        self.assertTrue(self.info.has_user(BOB))  # for deciding who may watch
        self.assertFalse(self.info.has_owner(BOB))
        bob.send("BYE")
        self.assertNotIn(b"bob", self.info.full(2).lower())

    def test_names_that_are_no_xml(self) -> None:
        self.joined("alice", from_='"Al\x0bice ]]> &amp; \ufffe" <sip:al%20ice@home.com>;tag=a')
        (found,) = users(self.full()).values()
        self.assertIn("]]> &amp;", text(found, "display-text") or "")

    def test_a_host_that_is_an_address(self) -> None:
        self.joined("alice", from_="<sip:alice@[2001:db8::1]>;tag=a")
        self.assertEqual(list(users(self.full())), ["sip:alice@[2001:db8::1]"])

    def test_very_long_names(self) -> None:
        self.joined("alice", from_=f'"{"A" * 5000}" <sip:{"a" * 5000}@home.com>;tag=a')
        self.joined("bob", from_=f'"{"B" * 5000}" <sip:{"b" * 5000}@home.com>;tag=b')
        root = self.full()
        self.assertEqual(len(users(root)), 2)
        self.assertLess(len(self.info.full(1)), 4000)


class ChangeTests(InfoTestCase):
    def test_many_changes_become_one(self) -> None:
        gone = Change(users_deleted=frozenset("ab"))
        back = Change(users_changed=frozenset("b"), state_changed=True)
        both = gone.then(back)
        self.assertEqual((both.users_changed, both.users_deleted), (frozenset("b"), frozenset("a")))
        self.assertTrue(both.state_changed)
        self.assertFalse(both.description_changed)
        self.assertFalse(Change())
        self.assertEqual(back.then(gone).users_deleted, frozenset("ab"))

    def test_a_document_is_of_what_is_there_when_it_is_made(self) -> None:
        self.joined("alice")
        root = read(self.info.partial(Change(frozenset((ALICE, BOB))), 3))
        states = {uri: each.get("state") for uri, each in users(root).items()}
        self.assertEqual(states, {ALICE: "full", BOB: "deleted"})
