"""Who may watch a room that is published, and who may see who does."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.composing import KeptPublication
from msrpconf.conference.identity import ANONYMOUS, Identity
from msrpconf.conference.published import PublishedStates
from msrpconf.conference.roles import Role, Roles
from msrpconf.presence.published_policy import PublishedWatchPolicy, RoomRights
from msrpconf.presence.watching import Decision
from msrpconf.protocols.conference_info import Endpoint, User
from tests.conference.test_published import body
from tests.presence.support import ROOM, somebody

HERE = (Endpoint("sip:x@192.0.2.1", "connected"),)
PEOPLE = (
    User("sip:alice@example.com", roles=("owner",), endpoints=HERE),
    User("sip:bob@example.com", roles=("participant",), endpoints=HERE),
    User("sip:mallory@example.com", roles=("frob", "visitor"), endpoints=HERE),
    User(
        "sip:gone@example.com",
        roles=("owner",),
        endpoints=(Endpoint("sip:y@192.0.2.1", "disconnected"),),
    ),
)


class PolicyCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.states = PublishedStates(Clock())
        self.addCleanup(self.states.stop)
        octets = body(*PEOPLE, uri=ROOM)
        self.states.restore(KeptPublication(ROOM, "east", "x", 1000.0, octets))
        self.policy = PublishedWatchPolicy(self.states)

    def decisions(self, **expected: Decision) -> None:
        found = {name: self.policy.decide(ROOM, somebody(name)) for name in expected}
        self.assertEqual(found, expected)

    def refused(self, room: str, user: Identity) -> str:
        denied = self.policy.refuses_watchers(room, user)
        assert denied is not None
        self.assertEqual(denied.status, 403)
        return denied.reason


class PublishedWatchPolicyTests(PolicyCase):
    """Nothing but what was published is known."""

    def test_who_is_in_sees_who_is_in(self) -> None:
        self.decisions(
            alice=Decision.ALLOW,
            bob=Decision.ALLOW,
            carol=Decision.SUMMARY,
            gone=Decision.SUMMARY,
        )

    def test_who_owns_it_sees_who_watches(self) -> None:
        self.assertIsNone(self.policy.refuses_watchers(ROOM, somebody("alice")))
        hidden = Identity(ANONYMOUS, None, (ANONYMOUS,))
        for room, user in (
            (ROOM, somebody("bob")),
            (ROOM, somebody("gone")),
            (ROOM, hidden),
            ("sip:none@example.com", somebody("alice")),
        ):
            self.assertIn("owners", self.refused(room, user))


class RightsTests(PolicyCase):
    """The records of static rooms are known, and what holds for others."""

    def rights(self, **values: Any) -> None:
        self.policy = PublishedWatchPolicy(self.states, lambda key: RoomRights(**values))

    def test_an_open_room(self) -> None:
        self.rights()
        self.decisions(alice=Decision.ALLOW, carol=Decision.ALLOW)

    def test_who_may_see_others(self) -> None:
        self.rights(may_see_others=Role.PARTICIPANT)
        self.decisions(bob=Decision.ALLOW, mallory=Decision.SUMMARY, carol=Decision.ALLOW)
        self.rights(may_see_others=Role.MODERATOR)
        self.decisions(alice=Decision.ALLOW, bob=Decision.SUMMARY, carol=Decision.SUMMARY)

    def test_who_has_a_role_there(self) -> None:
        roles = Roles(
            {
                "sip:carol@example.com": Role.OWNER,
                "sip:dave@example.com": Role.MEMBER,
                "sip:bob@example.com": Role.BANNED,
                "*@example.org": Role.MEMBER,
            },
            members_only=True,
        )
        self.rights(roles=roles, may_see_others=Role.MODERATOR)
        self.decisions(
            carol=Decision.ALLOW,  # owns it, and need not be in it
            dave=Decision.SUMMARY,
            bob=Decision.BLOCK,
            erin=Decision.BLOCK,
            mallory=Decision.SUMMARY,  # was invited, and is in it
        )
        member = Identity("sip:x@example.org", None, ("sip:x@example.org",))
        self.assertIs(self.policy.decide(ROOM, member), Decision.SUMMARY)
        self.assertIsNone(self.policy.refuses_watchers(ROOM, somebody("carol")))
        self.assertIsNone(self.policy.refuses_watchers(ROOM, somebody("alice")))
        self.assertIn("Only owners", self.refused(ROOM, somebody("dave")))
