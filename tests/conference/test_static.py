"""Rooms that an operator has set up."""

from __future__ import annotations

from attrs import evolve

from msrpconf.conference.roles import MAX_ASSIGNED, Role, Roles, welcome
from msrpconf.conference.static import StaticRoom, StaticRoomError, StaticRooms, assigned
from msrpconf.protocols.sip.headers import Reason
from tests.conference.support import ROOM, ControlTestCase, cpim

CONF2 = "sip:conf2@conf.example.com"


def roles(**options: object) -> Roles:
    """`alice` owns the room; `options` are those of `Roles`."""
    users = {"sip:alice@home.com": Role.OWNER, "sip:bob@home.com": Role.MEMBER}
    return Roles(users, **options)  # type: ignore[arg-type]


class StaticRoomTests(ControlTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.static = StaticRooms(self.control)

    def put(self, **options: object) -> StaticRoom:
        record = StaticRoom(ROOM, **options)  # type: ignore[arg-type]
        self.static.put(record)
        return record

    def names(self) -> list[str]:
        return [str(each.identity)[4:-9] for each in self.room.participants]

    def byes(self) -> dict[str, str]:
        """Who was sent a BYE, with its Reason."""
        return {
            each.call_id.partition("@")[0]: each.headers.get("Reason") or ""
            for each in self.channel.requests
        }

    def test_it_is_there_without_participants(self) -> None:
        self.configure(ad_hoc=False)
        self.assertEqual(self.client("bob").invite().status, 404)
        self.put(subject="Tea", display_text="The kitchen")
        self.assertEqual(self.client("bob").send("OPTIONS").status, 200)
        bob = self.joined("bob")
        self.assertEqual((self.room.subject, self.room.display_text), ("Tea", "The kitchen"))
        bob.send("BYE")
        self.assertEqual(self.names(), [])
        self.assertEqual(self.registry.static_rooms, 1)

    def test_nobody_owns_it_by_joining(self) -> None:
        self.put()
        bob = self.joined("bob")
        self.assertIs(bob.participant.role, Role.PARTICIPANT)
        self.put(roles=Roles({"sip:bob@home.com": Role.OWNER}))
        self.assertIs(bob.participant.role, Role.OWNER)
        self.joined("carol")
        bob.send("BYE")
        self.assertEqual(self.room.roles.owners, ("sip:bob@home.com",))
        self.assertIs(self.joined("bob", "2").participant.role, Role.OWNER)

    def test_it_does_not_count_for_the_limit_of_rooms(self) -> None:
        self.configure(max_rooms=1)
        self.put()
        self.joined("alice", room=CONF2)
        self.joined("bob")
        conf3 = self.client("carol", room="sip:conf3@conf.example.com")
        self.assertEqual(conf3.invite().status, 503)
        self.static.remove(self.room_key)
        self.assertEqual(self.registry.ad_hoc_rooms, 1)

    room_key = "sip:conf1@conf.example.com"

    def test_who_is_banned_is_sent_out(self) -> None:
        self.put()
        alice, bob = self.joined("alice"), self.joined("bob")
        self.joined("bob", "2")
        self.put(roles=Roles({"sip:bob@home.com": Role.BANNED}))
        self.assertEqual(self.names(), ["alice"])
        reason = 'SIP;cause=403;text="You are banned from this room"'
        self.assertEqual(self.byes(), {"bob": reason, "bob2": reason})
        self.assertTrue(bob.connected.transport.disconnecting)
        self.assertEqual(self.client("bob", "3").invite().status, 403)
        self.assertIn("dropped: You are banned", "".join(self.logged))
        alice.say(cpim("Hi"))
        self.assertEqual(alice.told(), ["200 OK"])

    def test_who_is_no_member_is_sent_out(self) -> None:
        for name in ("alice", "bob", "carol"):
            self.joined(name)
        self.put(roles=roles(members_only=True))
        self.assertEqual(self.names(), ["alice", "bob"])
        self.assertIn("members only", self.byes()["carol"])

    def test_who_is_in_stays_when_it_is_locked_or_smaller(self) -> None:
        for name in ("alice", "bob", "carol"):
            self.joined(name)
        self.put(roles=roles(locked=True), settings={"max_participants": 1})
        self.assertEqual(self.names(), ["alice", "bob", "carol"])
        self.assertEqual(self.client("dave").invite().status, 403)
        self.put(settings={"max_participants": 1})
        self.assertEqual(self.client("dave").invite().status, 486)

    def test_settings_take_effect_at_once(self) -> None:
        alice = self.joined("alice")
        self.put(settings={"max_message_octets": 200, "private_messages": False})
        self.assertFalse(self.room.settings.private_messages)
        self.assertEqual(self.room.settings.burst, self.settings.room.burst)
        alice.say(cpim("x" * 200))
        self.assertTrue(alice.told()[0].startswith("413"))
        self.assertIn(b"max-size:200", self.client("bob").send("OPTIONS").body)
        self.put()
        self.assertTrue(self.room.settings.private_messages)
        alice.say(cpim("x" * 200), "m2")
        self.assertEqual(alice.told(), ["200 OK"])

    def test_who_was_muted_stays_so(self) -> None:
        self.put()
        bob = self.joined("bob")
        self.room.roles = self.room.roles.mute(("sip:bob@home.com",))
        self.put(subject="Tea")
        self.assertTrue(bob.participant.muted)

    def test_who_was_invited_to_the_closed_room_stays(self) -> None:
        self.put(roles=roles(members_only=True))
        welcome(self.room, "sip:carol@home.com")
        carol = self.joined("carol")
        self.put(roles=roles(members_only=True), subject="Tea")
        self.assertEqual(self.names(), ["carol"])
        users = {"sip:carol@home.com": Role.BANNED}
        self.put(roles=Roles(users, members_only=True))
        self.assertEqual(self.names(), [])
        self.assertEqual(self.client("carol", "2").invite().status, 403)
        self.assertTrue(carol.connected.transport.disconnecting)

    def test_an_end(self) -> None:
        self.put()
        self.joined("alice")
        self.static.remove(self.room_key)
        self.assertEqual(
            self.byes(), {"alice": 'SIP;cause=410;text="The room was closed by its operator"'}
        )
        self.assertNobodyIsLeft()
        self.assertEqual(self.static.records, {})
        self.put()
        self.static.remove(self.room_key)
        self.static.remove(self.room_key)
        self.assertEqual(self.registry.static_rooms, 0)
        self.assertNobodyIsLeft()

    def test_the_server_ends(self) -> None:
        self.put()
        self.joined("alice")
        self.control.close(Reason("SIP", 503, "Going down"))
        self.assertEqual(self.names(), [])


class RecordTests(ControlTestCase):
    def refused(self, text: str, **options: object) -> None:
        options.setdefault("uri", ROOM)
        error = self.assertRaises(StaticRoomError, StaticRoom, **options)
        self.assertIn(text, str(error))

    def test_its_key(self) -> None:
        self.assertEqual(StaticRoom("sips:Lobby@EXAMPLE.com:5061").key, "sip:Lobby@example.com")

    def test_what_cannot_be(self) -> None:
        for uri in ("", "lobby", "sip:example.com", "tel:+1555", "sip:a@b c"):
            self.refused("uri: ", uri=uri)
        self.refused("255", uri=f"sip:{'x' * 250}@example.com")
        for name in ("subject", "display_text", "free_text"):
            self.refused(f"{name}: ", **{name: "x" * 4001})
            self.refused(f"{name}: ", **{name: "a\x1b[2J"})
        self.refused("one line", subject="a\nb")
        StaticRoom(ROOM, free_text="a\nb", subject="Grüße")
        self.refused("settings: color: no setting", settings={"color": 1})
        self.refused("participant or visitor", roles=Roles(others=Role.OWNER))
        self.refused("whole domain", roles=Roles({"*@home.com": Role.OWNER}))
        many = {f"sip:{n}@home.com": Role.MEMBER for n in range(MAX_ASSIGNED + 1)}
        self.refused(f"{MAX_ASSIGNED} at most", roles=Roles(many))

    def test_lists_of_users(self) -> None:
        self.assertEqual(
            assigned({"sips:Bob@HOME.com:5061": Role.OWNER, "sip:*@Home.com": Role.MEMBER}),
            {"sip:Bob@home.com": Role.OWNER, "*@home.com": Role.MEMBER},
        )
        both = {"sip:bob@home.com": Role.OWNER, "sips:bob@home.com": Role.BANNED}
        for users, text in (
            (both, "both owner and banned"),
            ({"bob": Role.OWNER}, "expected a URI such as"),
            ({f"sip:{'x' * 250}@home.com": Role.OWNER}, "255 characters at most"),
        ):
            self.assertIn(text, str(self.assertRaises(StaticRoomError, assigned, users)))

    def test_settings_over_the_configuration(self) -> None:
        defaults = evolve(self.settings.room, burst=7)
        settings = StaticRoom(ROOM, settings={"rate": 3.0}).settings_over(defaults)
        self.assertEqual((settings.rate, settings.burst), (3.0, 7))
