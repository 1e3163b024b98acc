"""Whoever follows the changes knows what whoever asks for everything is told (RFC 4575 §4.6)."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from msrpconf.client.roster import Outcome, Roster
from msrpconf.conference.info import LINGER
from msrpconf.conference.roles import Role
from msrpconf.conference.room import Room
from msrpconf.conference.states import Change
from msrpconf.protocols.sip.headers import Reason
from tests.conference.referring import ReferTestCase
from tests.conference.support import Client
from tests.documents import read

NAMES = ("alice", "bob", "carol")
DEVICES = ("", "2")

_WHO = st.tuples(st.sampled_from(NAMES), st.sampled_from(DEVICES))
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("join", "join", "leave", "expel", "hide", "nickname", "role", "mute"),
                *("hold", "unhold", "subject", "lock", "invite", "decline", "wait", "watch"),
            ]
        ),
        _WHO,
        st.integers(0, 3),
    ),
    max_size=40,
)


class ReplayTests(ReferTestCase):
    @settings(deadline=None, max_examples=60)
    @given(_STEPS)
    def test_partial_documents_come_to_the_full_one(self, steps: list[Any]) -> None:
        self.setUp()
        self.clients: dict[tuple[str, str], Client] = {}
        self.pending = Change()
        self.registry.watch(lambda key, info, change: self.note(change))
        host = self.joined("host")
        room = self.room
        self.host = host
        roster = Roster()
        self.assertIs(roster.apply(room.info.full(1)), Outcome.APPLIED)
        self.pending = Change()
        self.version = 1
        for what, who, number in steps:
            self.take(room, what, who, number)
            if what == "watch":
                self.follow(room, roster)
        self.follow(room, roster)
        fresh = Roster()
        octets = room.info.full(1)
        read(octets)
        fresh.apply(octets)
        self.assertEqual(dict(roster.users), dict(fresh.users))
        self.assertEqual(roster.description, fresh.description)
        self.assertEqual(roster.state, fresh.state)
        self.assertEqual(fresh.state.user_count, len(fresh.present))
        # What is kept is what would be made now.
        for entry in room.info._entries.values():
            self.assertEqual(entry.octets, room.info._made(entry))

    def note(self, change: Change | None) -> None:
        assert change is not None
        self.pending = self.pending.then(change)

    def follow(self, room: Room, roster: Roster) -> None:
        change, self.pending = self.pending, Change()
        if change:
            self.version += 1
            octets = room.info.partial(change, self.version)
            read(octets)
            self.assertIs(roster.apply(octets), Outcome.APPLIED)

    def take(self, room: Room, what: str, who: tuple[str, str], number: int) -> None:
        name, device = who
        client = self.clients.get(who)
        if what in {"join", "hide"} and client is None:
            options: dict[str, str] = {}
            if what == "hide":
                options["from_"] = f"<sip:anonymous@anonymous.invalid>;tag={name}{device}"
            client = self.client(name, device, **options)
            if what == "hide":
                asserted = ("P-Asserted-Identity", f"<sip:{name}@home.com>")
                client.headers = (*client.headers, asserted)
            if client.invite().status == 200:
                client.send("ACK")
                self.clients[who] = client
        elif what in {"leave", "expel"} and client is not None:
            del self.clients[who]
            if what == "leave":
                client.send("BYE")
            else:
                self.control.expel(client.participant, Reason("SIP", 403, "Out"))
        elif what == "nickname" and client is not None:
            room.use_nickname(client.participant, f'"{name}{number}"'.encode())
        elif what == "role":
            room.roles = room.roles.assign((f"sip:{name}@home.com",), Role(number + 1))
        elif what == "mute":
            room.roles = room.roles.mute((f"sip:{name}@home.com",), bool(number % 2))
        elif what in {"hold", "unhold"} and client is not None:
            client.send("UPDATE", client.offer("sendonly" if what == "hold" else "sendrecv"))
        elif what == "subject":
            room.subject = f"Subject {number}"
        elif what == "lock":
            room.roles = evolve(room.roles, locked=bool(number % 2))
        elif what == "invite":
            self.refer(self.host, f"<sip:{name}@home.com>")
        elif what == "decline":
            self.answer_refers((202, 486, 603, 404)[number])
        elif what == "wait":
            self.clock.advance(LINGER * number / 2)


class CostTests(ReferTestCase):
    def test_a_join_costs_one_element(self) -> None:
        host = self.joined("host")
        made: list[str] = []
        info = self.room.info
        for index in range(50):
            self.joined(f"u{index}")
        info.full(1)
        original = type(info)._made

        def counted(self: Any, entry: Any) -> bytes:
            made.append(entry.entity)
            return original(self, entry)

        self.patch(type(info), "_made", counted)
        self.joined("late")
        info.full(2)
        info.full(3)
        self.assertEqual(made, ["sip:late@home.com"])
        host.send("UPDATE", host.offer("sendonly"))
        info.full(4)
        self.assertEqual(set(made[1:]), {"sip:host@home.com"})
