"""Roles: whose they are, and to whom an ad-hoc room goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.identity import Identity
from msrpconf.conference.roles import Role, Roles, is_whole_domain, user_key
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import NameAddr
from tests.conference.support import ControlTestCase

MEMBER, BANNED, OWNER, VISITOR = Role.MEMBER, Role.BANNED, Role.OWNER, Role.VISITOR


USERS = tuple(f"sip:{name}@{host}" for name in "abc" for host in ("home.com", "work.com"))
SOME = st.builds(
    Roles,
    st.dictionaries(
        st.sampled_from((*USERS, "*@home.com")), st.sampled_from([MEMBER, BANNED, VISITOR])
    ),
    st.sampled_from([Role.PARTICIPANT, VISITOR]),
    st.frozensets(st.sampled_from(USERS)),
)


def user(from_: str, *asserted: str) -> Identity:
    return Identity.of(
        NameAddr.parse(f"<{from_}>"), tuple(NameAddr.parse(f"<{each}>") for each in asserted)
    )


class RoleTests(SynchronousTestCase):
    def test_names(self) -> None:
        for role in Role:
            self.assertIs(Role.parse(role.text), role)
        error = self.assertRaises(ValueError, Role.parse, "king")
        self.assertIn("'king'", str(error))
        self.assertIn("moderator", str(error))

    def test_user_keys(self) -> None:
        self.assertEqual(user_key("sips:Alice@HOME.com:5061;transport=tls"), "sip:Alice@home.com")
        self.assertEqual(user_key("tel:+1-555-1234"), "tel:+15551234")
        for whole in ("sip:*@Home.com", "*@home.com", "sips:%2A@home.com:5061"):
            self.assertEqual(user_key(whole), "*@home.com")
        self.assertTrue(is_whole_domain("*@home.com"))
        self.assertFalse(is_whole_domain(user_key("sip:a@home.com")))
        for wrong in ("sip:home.com", "alice", "", "*@", "*", "*@a b"):
            self.assertRaises(SipSyntaxError, user_key, wrong)

    def test_by_any_uri_that_is_vouched_for(self) -> None:
        roles = Roles({"tel:+15551234": OWNER, "*@home.com": MEMBER})
        self.assertIs(roles.of(user("sip:alice@home.com")), MEMBER)
        self.assertIs(roles.of(user("sip:x@y.z", "sip:alice@home.com", "tel:+15551234")), OWNER)
        self.assertIs(roles.of(user("sip:alice@home.com", "sip:eve@away.com")), Role.PARTICIPANT)
        self.assertIs(roles.of(user("sip:alice@home.org")), Role.PARTICIPANT)
        self.assertIs(roles.of(user("tel:+15551234", "sip:eve@away.com")), Role.PARTICIPANT)

    def test_users_before_domains_and_banned_before_allowed(self) -> None:
        roles = Roles(
            {
                "*@home.com": BANNED,
                "sip:alice@home.com": MEMBER,
                "*@away.com": MEMBER,
                "sip:eve@away.com": BANNED,
                "tel:+15551234": OWNER,
            }
        )
        self.assertIs(roles.of(user("sip:alice@home.com")), MEMBER)
        self.assertIs(roles.of(user("sip:bob@home.com")), BANNED)
        self.assertIs(roles.of(user("sip:carol@away.com")), MEMBER)
        self.assertIs(roles.of(user("sip:eve@away.com")), BANNED)
        self.assertIs(roles.of(user("sip:eve@away.com", "sip:alice@home.com")), BANNED)
        self.assertIs(roles.of(user("sip:a@b.c", "sip:eve@away.com", "tel:+15551234")), OWNER)

    def test_who_is_called_everybody_is_not(self) -> None:
        star = user("sip:*@home.com")
        for role in (BANNED, OWNER):
            roles = Roles().assign(star.proven, role)
            self.assertIs(roles.of(star), role)
            self.assertIs(roles.of(user("sip:alice@home.com")), Role.PARTICIPANT)
        self.assertIs(Roles({"*@home.com": BANNED}).of(star), BANNED)

    def test_muted(self) -> None:
        roles = Roles({"sip:alice@home.com": OWNER, "sip:eve@home.com": BANNED})
        for name in ("alice", "eve", "bob"):
            roles = roles.mute((f"sip:{name}@home.com",))
        self.assertIs(roles.of(user("sip:bob@home.com")), VISITOR)
        self.assertIs(roles.of(user("sip:alice@home.com")), OWNER)
        self.assertIs(roles.of(user("sip:eve@home.com")), BANNED)

    @given(SOME, SOME, st.sampled_from(USERS), st.sampled_from(USERS))
    def test_whose_role_has_changed(
        self, before: Roles, after: Roles, from_: str, asserted: str
    ) -> None:
        who = user(from_, asserted)
        changed = after.changed_since(before)
        if changed is not None and changed.isdisjoint(who.keys):
            self.assertIs(after.of(who), before.of(who))

    def test_of_few_it_may_have(self) -> None:
        before = Roles({USERS[0]: OWNER})
        after = before.assign((USERS[1],), OWNER).mute((USERS[2],))
        self.assertEqual(after.changed_since(before), frozenset(USERS[1:3]))
        self.assertEqual(after.changed_since(after), frozenset())

    def test_who_is_anonymous_is_nobody(self) -> None:
        anonymous = "sip:anonymous@anonymous.invalid"
        roles = Roles({anonymous: OWNER, "sip:alice@home.com": OWNER})
        self.assertIs(roles.of(user(anonymous)), Role.PARTICIPANT)
        self.assertIs(roles.of(user(anonymous, "sip:alice@home.com")), OWNER)


class OwnerTests(ControlTestCase):
    """The owner of an ad-hoc room."""

    def assertOwner(self, *names: str) -> None:
        owners = [str(each.identity) for each in self.room.participants if each.role is OWNER]
        self.assertEqual(owners, [f"sip:{name}@home.com" for name in names])
        self.assertEqual(set(self.room.roles.owners), set(owners))

    def test_the_first_owns_the_room(self) -> None:
        alice = self.joined("alice")
        self.joined("bob")
        self.assertOwner("alice")
        self.joined("alice", "2")
        self.assertOwner("alice", "alice")
        alice.send("BYE")
        self.assertOwner("alice")

    def test_the_longest_there_is_next(self) -> None:
        alice = self.joined("alice")
        for name in ("bob", "carol"):
            self.joined(name)
        alice.send("BYE")
        self.assertOwner("bob")
        self.assertIn("owner: sip:bob@home.com of sip:conf1@conf.example.com now", self.logged)
        self.joined("alice")
        self.assertOwner("bob")

    def test_a_moderator_comes_before_others_and_a_visitor_after(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        carol = self.joined("carol")
        self.joined("dave")
        roles = self.room.roles.mute(("sip:bob@home.com",))
        self.room.roles = roles.assign(("sip:dave@home.com",), Role.MODERATOR)
        alice.send("BYE")
        self.assertOwner("dave")
        self.room.roles = self.room.roles.assign(("sip:dave@home.com",), Role.MEMBER)
        self.room.roles = self.room.roles.assign(("sip:bob@home.com",), OWNER)
        self.assertOwner("bob")
        bob.send("BYE")
        self.assertOwner("carol")
        carol.send("BYE")
        self.assertOwner("dave")

    def test_another_owner_is_enough(self) -> None:
        alice = self.joined("alice")
        for name in ("bob", "carol"):
            self.joined(name)
        self.room.roles = self.room.roles.assign(("sip:carol@home.com",), OWNER)
        self.assertOwner("alice", "carol")
        alice.send("BYE")
        self.assertOwner("carol")

    def test_a_visitor_where_there_is_nobody_else(self) -> None:
        alice = self.joined("alice")
        self.joined("bob")
        self.room.roles = self.room.roles.mute(("sip:bob@home.com",))
        alice.send("BYE")
        self.assertOwner("bob")

    def test_who_is_anonymous_owns_nothing(self) -> None:
        hidden = "<sip:anonymous@anonymous.invalid>;tag=a"
        self.joined("nobody", from_=hidden)
        self.assertOwner()
        alice = self.joined("alice")
        self.assertOwner("alice")
        alice.send("BYE")
        self.assertOwner()

    def test_nobody_owns_where_the_operator_says_so(self) -> None:
        self.configure(ad_hoc_owner=False)
        self.joined("alice")
        self.assertOwner()
