"""Who may do what: every kind of user against every action."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from msrpconf.conference import policy
from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.roles import MAX_ASSIGNED, Role, Roles
from msrpconf.conference.room import Room
from msrpconf.protocols.sip.headers import NameAddr
from tests.conference.support import ControlTestCase, cpim

KINDS = ("owner", "moderator", "member", "stranger", "visitor", "muted", "banned")
"""Users by the names that they have in the tables below; each is in the room twice."""

Action = Callable[[Room, Identity], Denied | None]


def identity(name: str) -> Identity:
    return Identity.of(NameAddr.parse(f"<sip:{name}@home.com>"))


def about(name: str, action: Callable[[Room, Identity, Identity], Denied | None]) -> Action:
    return lambda room, user: action(room, user, identity(name))


def made(name: str, role: Role) -> Action:
    return lambda room, user: policy.may_assign(room, user, identity(name), role)


class PolicyTestCase(ControlTestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in KINDS:
            self.joined(name)
        self.room.roles = self.roles

    roles = Roles(
        {
            "sip:owner@home.com": Role.OWNER,
            "sip:owner2@home.com": Role.OWNER,
            "sip:moderator@home.com": Role.MODERATOR,
            "sip:moderator2@home.com": Role.MODERATOR,
            "sip:member@home.com": Role.MEMBER,
            "sip:visitor@home.com": Role.VISITOR,
            "sip:banned@home.com": Role.BANNED,
        },
        muted=frozenset(["sip:muted@home.com"]),
    )

    def leave_all(self) -> None:
        """Leave the room to nobody: it is static, so it keeps its roles."""
        self.room.static = True
        for each in list(self.room.participants):
            self.room.remove(each)

    def allowed(self, action: Action) -> str:
        """Who may, of all the kinds there are."""
        results = {name: action(self.room, identity(name)) for name in KINDS}
        for denied in results.values():
            if denied is not None:
                self.assertEqual(denied.status, 403)
                self.assertGreater(len(denied.reason), 20)
        return " ".join(name for name, denied in results.items() if denied is None)

    def assertAllowed(self, table: dict[str, tuple[Action, str]]) -> None:
        for name, (action, expected) in table.items():
            with self.subTest(action=name):
                self.assertEqual(self.allowed(action), expected)


class TableTests(PolicyTestCase):
    def test_an_open_room(self) -> None:
        everybody = "owner moderator member stranger visitor muted"
        voice = "owner moderator member stranger"
        moderators = "owner moderator"
        self.assertAllowed(
            {
                "enter": (policy.may_enter, everybody),
                "stay": (policy.may_stay, everybody),
                "speak": (policy.may_speak, voice),
                "private": (policy.may_send_private, voice),
                "announce": (policy.may_announce, moderators),
                "subject": (policy.may_change_subject, moderators),
                "see others": (policy.may_see_others, everybody),
                "invite": (policy.may_invite, voice),
                "access": (policy.may_change_access, "owner"),
                "documents": (policy.may_edit_documents, "owner"),
                "see watchers": (policy.may_see_watchers, "owner"),
                "end": (policy.may_end, "owner"),
            }
        )

    def test_about_others(self) -> None:
        everybody = " ".join(KINDS)
        self.assertNotIn("bob", everybody)
        remove, mute = policy.may_remove, policy.may_mute
        self.assertAllowed(
            {
                "remove owner": (about("owner2", remove), ""),
                "remove moderator": (about("moderator2", remove), "owner"),
                "remove member": (about("member", remove), "owner moderator member"),
                "remove stranger": (about("bob", remove), "owner moderator"),
                "remove visitor": (about("visitor", remove), "owner moderator visitor"),
                "remove muted": (about("muted", remove), "owner moderator muted"),
                "remove banned": (about("banned", remove), "owner moderator banned"),
                "mute owner": (about("owner2", mute), ""),
                "mute moderator": (about("moderator2", mute), "owner"),
                "mute stranger": (about("bob", mute), "owner moderator"),
                "unmute": (about("muted", mute), "owner moderator"),
            }
        )
        for name in KINDS:
            self.assertIsNone(remove(self.room, identity(name), identity(name)))

    def test_roles_of_others(self) -> None:
        self.assertAllowed(
            {
                "make owner": (made("bob", Role.OWNER), "owner"),
                "make moderator": (made("bob", Role.MODERATOR), "owner"),
                "make member": (made("bob", Role.MEMBER), "owner moderator"),
                "make visitor": (made("bob", Role.VISITOR), "owner moderator"),
                "ban": (made("bob", Role.BANNED), "owner moderator"),
                "allow again": (made("banned", Role.MEMBER), "owner moderator"),
                "ban a moderator": (made("moderator2", Role.BANNED), "owner"),
                "ban an owner": (made("owner2", Role.BANNED), ""),
                "unmake an owner": (made("owner2", Role.MEMBER), ""),
            }
        )

    def test_ones_own_role(self) -> None:
        def own(name: str, role: Role) -> bool:
            return policy.may_assign(self.room, identity(name), identity(name), role) is None

        self.assertTrue(own("moderator", Role.MEMBER))
        self.assertFalse(own("moderator", Role.OWNER))
        self.assertFalse(own("banned", Role.PARTICIPANT))
        self.assertFalse(own("muted", Role.PARTICIPANT))
        self.assertTrue(own("owner", Role.PARTICIPANT))
        self.room.roles = self.room.roles.assign(("sip:owner2@home.com",), None)
        self.assertFalse(own("owner", Role.PARTICIPANT))

    def test_a_members_only_room(self) -> None:
        self.room.roles = evolve(self.roles, members_only=True)
        listed = "owner moderator member visitor"
        self.assertAllowed(
            {
                "enter": (policy.may_enter, listed),
                "stay": (policy.may_stay, listed),
                "see others": (policy.may_see_others, listed),
                "invite": (policy.may_invite, "owner moderator"),
            }
        )

    def test_a_locked_room(self) -> None:
        self.room.roles = evolve(self.roles, locked=True)
        present = "owner moderator member stranger visitor muted"
        self.assertEqual(self.allowed(policy.may_stay), present)
        # Those who are in may come with one more device.
        self.assertEqual(self.allowed(policy.may_enter), present)
        self.assertEqual(self.allowed(policy.may_invite), "owner moderator")
        self.leave_all()
        self.assertEqual(self.allowed(policy.may_enter), "owner moderator")

    def test_who_is_not_in_the_room(self) -> None:
        self.leave_all()
        self.assertAllowed(
            {
                "invite": (policy.may_invite, "owner moderator"),
                "subject": (policy.may_change_subject, "owner moderator"),
                "remove": (about("bob", policy.may_remove), "owner moderator"),
            }
        )

    def test_a_room_of_visitors(self) -> None:
        self.room.roles = evolve(self.roles, others=Role.VISITOR)
        self.assertEqual(self.allowed(policy.may_speak), "owner moderator member")
        self.assertIn("stranger", self.allowed(policy.may_enter))

    def test_what_the_operator_sets(self) -> None:
        self.configure(
            may_invite=Role.OWNER,
            may_change_subject=Role.VISITOR,
            may_see_others=Role.MEMBER,
            private_messages=False,
        )
        self.assertAllowed(
            {
                "invite": (policy.may_invite, "owner"),
                "subject": (
                    policy.may_change_subject,
                    "owner moderator member stranger visitor muted",
                ),
                "see others": (policy.may_see_others, "owner moderator member"),
                "private": (policy.may_send_private, ""),
            }
        )

    def test_a_static_room_is_not_ended(self) -> None:
        self.room.static = True
        self.assertEqual(self.allowed(policy.may_end), "")

    def test_the_lists_of_a_room_are_bounded(self) -> None:
        owner, bob = identity("owner"), identity("bob")
        many = [f"sip:{n}@home.com" for n in range(MAX_ASSIGNED)]
        full = {**dict.fromkeys(many, Role.MEMBER), "sip:owner@home.com": Role.OWNER}
        self.room.roles = Roles(full, muted=frozenset(many))
        denied = policy.may_assign(self.room, owner, bob, Role.BANNED)
        self.assertIn(str(MAX_ASSIGNED), denied.reason if denied else "")
        self.assertIsNone(policy.may_assign(self.room, owner, identity("1"), Role.BANNED))
        denied = policy.may_mute(self.room, owner, bob)
        self.assertIn(str(MAX_ASSIGNED), denied.reason if denied else "")


class WireTests(PolicyTestCase):
    """What those in and before the room are told."""

    def test_who_is_not_let_in(self) -> None:
        answer = self.client("banned", "2").invite()
        self.assertEqual((answer.status, answer.reason), (403, "You are banned from this room"))
        self.assertIn("refused: INVITE of sip:banned@home.com", self.logged[-1])
        self.room.roles = evolve(self.roles, members_only=True)
        self.assertIn("members only", self.client("bob").invite().reason)
        self.assertEqual(self.client("member", "2").invite().status, 200)
        self.room.roles = evolve(self.roles, locked=True)
        self.assertIn("locked", self.client("bob").invite().reason)
        self.assertEqual(self.client("bob").send("OPTIONS").status, 403)

    def test_another_uri_does_not_get_around_a_ban(self) -> None:
        asserted = (("P-Asserted-Identity", "<sip:other@home.com>, <sip:banned@home.com>"),)
        self.assertEqual(self.client("bob").invite(headers=asserted).status, 403)

    def test_from_gives_no_role_where_a_proxy_says_who_it_is(self) -> None:
        eve = self.client("eve", from_="<sip:owner@home.com>;tag=e")
        eve.invite(headers=(("P-Asserted-Identity", "<sip:eve@home.com>"),))
        self.assertIs(eve.participant.role, Role.PARTICIPANT)

    def test_no_voice(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        self.room.roles = self.room.roles.mute(("sip:alice@home.com",))
        alice.say(cpim("Hi"))
        self.assertEqual(alice.told(), ["403 you have no voice here: ask a moderator for it"])
        self.assertEqual(bob.hears(), [])
        self.room.roles = self.room.roles.mute(("sip:alice@home.com",), False)
        alice.say(cpim("Hi"), "m2")
        self.assertEqual(alice.told(), ["200 OK"])
        self.assertEqual(len(bob.hears()), 1)
