"""Changing what people are in a room while they are in it."""

from __future__ import annotations

from attrs import evolve

from msrpconf.conference.moderation import set_roles
from msrpconf.conference.roles import Role
from tests.conference.support import ControlTestCase


class ModerationTests(ControlTestCase):
    def test_who_is_banned_is_sent_out_of_an_ad_hoc_room(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        banned = self.room.roles.assign(bob.participant.identity.proven, Role.BANNED)
        set_roles(self.control, self.room, banned)
        reason = 'SIP;cause=403;text="You are banned from this room"'
        self.assertEqual(self.bye().headers.get("Reason"), reason)
        self.assertEqual(list(self.room.participants), [alice.participant])
        self.assertEqual(self.client("bob", "2").invite().status, 403)

    def test_a_room_that_is_locked_keeps_who_is_in(self) -> None:
        for name in ("alice", "bob"):
            self.joined(name)
        set_roles(self.control, self.room, evolve(self.room.roles, locked=True))
        self.assertEqual((len(self.room.participants), self.channel.requests), (2, []))
        self.assertEqual(self.client("carol").invite().status, 403)

    def test_the_owner_who_is_banned_by_the_operator(self) -> None:
        """The room goes on with the next one."""
        alice, bob = self.joined("alice"), self.joined("bob")
        roles = self.room.roles.assign(alice.participant.identity.proven, Role.BANNED)
        set_roles(self.control, self.room, roles)
        self.assertEqual(list(self.room.participants), [bob.participant])
        self.assertIs(bob.participant.role, Role.OWNER)
        self.assertIs(self.room.roles.assigned["sip:alice@home.com"], Role.BANNED)
