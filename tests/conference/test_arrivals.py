"""Who comes from another server: what is kept for them until they are here, and what is told."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msrpconf.conference import arrivals, seat
from msrpconf.conference.arrivals import Arrival
from msrpconf.conference.decision import Denied
from msrpconf.conference.participant import State
from msrpconf.conference.roles import Role
from msrpconf.conference.seat import SeatError, read_room, read_seat, write_room, write_seat
from msrpconf.protocols.sdp import SessionDescription
from msrpconf.protocols.sip.message import Response
from tests.conference.support import TEXT_TYPES, Client, ControlTestCase, cpim, sdp

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)

GOOD_SEAT = (
    '{"identity": {"uri": "sip:a@b.c", "display_name": null, "keys": ["sip:a@b.c"], "proven": [],'
    ' "anonymous": false}, "contact": "sip:r@b.c", "reception": {"cpim": true, "types": ["*"],'
    ' "max_size": null, "relayed": false}, "receives": true, "speaks_text": false,'
    ' "private_messages": true, "secure": false, "direction": "sendrecv",'
    ' "origin": ["192.0.2.1", 1, 1], "above": [], "below": [], "nickname": null, "terms": null}'
)

GOOD_ROOM = (
    '{"uri": "sip:r@b.c", "subject": null, "display_text": null, "free_text": null,'
    ' "assigned": {}, "others": "participant", "muted": [], "invited": [],'
    ' "members_only": false, "locked": false}'
)


class ArrivingTestCase(ControlTestCase):
    """Alice has come here from a server that is gone; Bob comes after her."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.joined("alice")
        self.bob = self.joined("bob")

    def move(self, *clients: Client, origin: str = "gone") -> None:
        """These were elsewhere, and come here now."""
        told = [self.arrival(each) for each in clients]
        key, state = self.room.key, write_room(self.room)
        for each in clients:
            self.registry.leave(each.participant)
        refused = self.control.arrivals.take(key, state, told, origin)
        self.assertEqual(refused, [])

    def arrival(self, client: Client, **changes: Any) -> Arrival:
        dialog = evolve(client.participant.dialog, **changes)
        return Arrival(dialog, "", write_seat(client.participant, "192.0.2.1"))

    def follow(self, client: Client, body: bytes | None = None) -> None:
        """The client answers our INVITE, and knows the path here from then on."""
        (found,) = (
            (request, answer)
            for request, answer in self.channel.sent
            if request.call_id == client.call_id and not answer.called
        )
        request, answer = found
        self.assertEqual(request.method, "INVITE")
        client.answer = request.response(200, body=request.body)
        content = (("Content-Type", "application/sdp"),)
        answer.callback(request.response(200, headers=content, body=body or client.offer()))


class KeepingTests(ArrivingTestCase):
    def test_what_is_said_meanwhile_is_kept(self) -> None:
        self.move(self.bob)
        self.alice.say(cpim(b"Are you there?"))
        self.assertEqual(self.alice.told(), ["200 OK"])
        self.follow(self.bob)
        self.alice.say(cpim(b"Now?"), "m2")
        self.bob.connect_and_hear()
        said = [frame.body.split(b"\r\n\r\n")[-1] for frame in self.bob.heard]
        self.assertEqual(said, [b"Are you there?", b"Now?"])
        self.assertEqual(self.room.undelivered, 0)

    def test_also_where_msrp_overtakes_the_answer(self) -> None:
        self.move(self.bob)
        self.alice.say(cpim(b"Are you there?"))
        request = self.channel.requests[-1]
        self.bob.answer = request.response(200, body=request.body)
        self.bob.connect()  # nobody knows yet where to send
        self.alice.say(cpim(b"Now?"), "m2")
        self.assertEqual(self.bob.hears(), [])
        self.follow(self.bob)
        self.clock.advance(0)
        self.assertEqual([b"Now?" in each.body for each in self.bob.hears()], [False, True])
        self.assertIsNone(self.bob_here.timer)

    @property
    def bob_here(self) -> Any:
        (found,) = (
            each for each in self.room.participants if each.dialog.call_id == self.bob.call_id
        )
        return found

    def test_no_more_is_kept_than_may_wait(self) -> None:
        self.move(self.bob)
        for number in range(20):
            self.alice.say(cpim(b"x" * 10_000), f"m{number}")
        session = self.bob_here.session
        self.assertLessEqual(session.queued, session.limits.queue_octets)
        self.assertTrue(session.congested)
        self.follow(self.bob)
        self.bob.connect_and_hear()
        self.assertFalse(session.congested)
        self.assertIn(b"you missed", self.bob.heard[-1].body)

    def test_who_never_comes_leaves_nothing(self) -> None:
        self.move(self.bob)
        self.alice.say(cpim(b"Are you there?"))
        participant = self.bob_here
        self.clock.advance(32)
        self.assertIs(participant.state, State.DROPPED)
        self.assertEqual(participant.session.queued, 0)
        self.assertEqual(self.control.arrivals.seats, {})

    def test_who_is_behind_others_that_do_not_answer(self) -> None:
        self.patch(arrivals, "AT_ONCE", 1)
        self.control.arrivals = arrivals.Arrivals(self.control, self.clock)
        self.move(self.alice, self.bob)
        self.assertEqual(len(self.channel.requests), 1)
        self.clock.advance(32)
        # Nobody knows yet whether the INVITE is answered late: so it is not over.
        self.assertEqual(self.bob_here.state, State.EXPECTED)
        request, answer = self.channel.sent[0]
        answer.callback(request.response(408))
        self.clock.advance(31)
        self.follow(self.bob)
        self.assertIs(self.bob_here.state, State.JOINED)

    def test_who_answers_and_does_not_connect(self) -> None:
        self.move(self.bob)
        self.follow(self.bob)
        self.clock.advance(15)
        self.assertEqual(self.channel.requests[-1].method, "BYE")
        self.assertIn("No MSRP connection", self.channel.requests[-1].headers.get("Reason") or "")

    def test_a_client_that_we_connect_to(self) -> None:
        self.move(self.bob)
        lines = self.bob.offer().replace(b"a=path", b"a=setup:passive\r\na=path")
        self.follow(self.bob, lines)
        (session, destination) = self.connects[-1]
        self.assertIs(session, self.bob_here.session)
        self.assertEqual(destination.host, "bob.example.com")

    def test_nobody_is_told_that_they_have_come(self) -> None:
        self.configure(notices=True)
        self.move(self.bob)
        self.alice.connected.hears()
        self.follow(self.bob)
        self.assertEqual(self.alice.hears(), [])
        self.bob.connect_and_hear()
        self.assertIn(b"moved to another server", self.bob.heard[-1].body)

    def test_twice_is_once(self) -> None:
        told = self.arrival(self.bob)
        self.move(self.bob)
        again = self.control.arrivals.take(self.room.key, write_room(self.room), [told], "gone")
        self.assertEqual(again, [])
        self.assertEqual(len(self.room.participants), 2)
        self.assertEqual(len(self.channel.requests), 1)

    def test_what_has_changed_since_stays_when_others_follow(self) -> None:
        state = write_room(self.room)
        told = self.arrival(self.bob)
        self.move(self.alice)
        self.room.subject = "New"
        self.registry.leave(self.bob.participant)
        self.control.arrivals.take(self.room.key, state, [told], "gone")
        self.assertEqual(self.room.subject, "New")

    def test_a_server_that_takes_nobody(self) -> None:
        told = self.arrival(self.bob)
        self.registry.leave(self.bob.participant)
        take = self.control.arrivals.take
        self.registry.draining = True
        self.assertIsInstance(take(self.room.key, "", [told], "gone"), Denied)
        self.registry.draining = False
        self.configure(max_sessions=1)
        self.assertEqual(take(self.room.key, "", [told], "gone"), [told])
        self.configure(max_rooms=1)
        self.assertIsInstance(take("sip:other@conf.example.com", "", [told], "gone"), Denied)
        self.assertEqual(len(self.registry.rooms), 1)

    def test_a_room_that_nobody_is_in_is_none(self) -> None:
        key = "sip:other@conf.example.com"
        told = Arrival(self.bob.participant.dialog, "", "{}")
        self.registry.leave(self.bob.participant)
        self.assertEqual(self.control.arrivals.take(key, "", [told], "gone"), [told])
        self.assertEqual(len(self.registry.rooms), 1)

    def test_the_log_says_who_cannot_be_moved(self) -> None:
        told = evolve(self.arrival(self.bob), seat='{"identity": 5}')
        self.registry.leave(self.bob.participant)
        self.control.arrivals.take(self.room.key, "", [told], "gone")
        line = next(each for each in self.logged if "cannot be moved" in each)
        self.assertIn("(Call-ID bob@home.com)", line)


class SeatTests(ArrivingTestCase):
    def test_lines_that_were_refused_stay_refused_in_their_places(self) -> None:
        body = sdp("m=audio 9 RTP/AVP 0", *self.bob.offer().decode().split("\r\n")[5:-1])
        carol = self.client("carol")
        self.assertEqual(carol.invite(body).status, 200)
        carol.send("ACK")
        self.move(carol)
        offered = SessionDescription.parse(self.channel.requests[-1].body)
        self.assertEqual([each.media for each in offered.media], ["audio", "message"])
        self.assertEqual(offered.media[0].port, 0)
        self.assertEqual(offered.origin.address, "192.0.2.1")
        assert offered.connection is not None
        self.assertEqual(offered.connection.address, "msrp.example.com")

    def test_what_is_read_is_what_was_written(self) -> None:
        carol = self.joined("carol", types=TEXT_TYPES)
        carol.participant.room.use_nickname(carol.participant, b'"Caro"')
        told = read_seat(write_seat(carol.participant, "192.0.2.1"))
        self.assertEqual(told.identity, carol.participant.identity)
        self.assertEqual(told.nickname, "Caro")
        self.assertFalse(told.reception.cpim)
        self.assertTrue(told.agreement.speaks_text)

    def test_a_server_by_ipv6(self) -> None:
        told = read_seat(write_seat(self.bob.participant, "2001:db8::1"))
        self.assertEqual(told.origin[0], "2001:db8::1")

    def test_who_is_anonymous_stays_so(self) -> None:
        hidden = self.joined("dave", from_="<sip:anonymous@anonymous.invalid>;tag=dt")
        identity = hidden.participant.identity
        self.move(hidden)
        (here,) = (each for each in self.room.participants if each.dialog.call_id == hidden.call_id)
        self.assertEqual(here.identity, identity)
        self.assertTrue(here.identity.anonymous)

    def test_what_cannot_be_read(self) -> None:
        good = json.loads(write_seat(self.bob.participant, "192.0.2.1"))
        no_uri = {**good["identity"], "keys": []}
        terms = {"ours": True, "supported": True, "updates": True}
        bad: list[Any] = [
            {},
            [],
            {**good, "contact": "nowhere"},
            {**good, "identity": no_uri},
            {**good, "origin": "abc"},
            {**good, "above": [5]},
            {**good, "above": [["audio", "RTP/AVP", ["0"], []]] * 17},
            {**good, "origin": ["192.0.2.1\r\na=x", 1, 1]},
            {**good, "origin": ["", 1, 1]},
            {**good, "nickname": "a\nb"},
            {**good, "terms": {**terms, "interval": 1e300}},
            {**good, "terms": {**terms, "interval": float("nan")}},
        ]
        for wrong in bad:
            with self.assertRaises(SeatError, msg=str(wrong)):
                read_seat(json.dumps(wrong))
        for text in ("", "[" * 10_000, "x" * (seat.MAX_SEAT + 1)):
            with self.assertRaises(SeatError):
                read_seat(text)

    # On a busy machine the first values take their time.
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
    @given(JSON, st.text(max_size=20))
    def test_nothing_else_is_raised(self, value: Any, text: str) -> None:
        good = json.loads(GOOD_SEAT), json.loads(GOOD_ROOM)
        for read, document in zip((read_seat, read_room), good, strict=True):
            for key in document:
                for told in (json.dumps({**document, key: value}), json.dumps(value), text):
                    try:
                        read(told)
                    except SeatError:
                        pass

    def test_rooms_that_cannot_be_read(self) -> None:
        good = json.loads(write_room(self.room))
        many = {f"sip:{number}@home.com": "member" for number in range(seat.MAX_USERS + 1)}
        for wrong in (
            {},
            {**good, "uri": "x"},
            {**good, "assigned": {"sip:a@b": "king"}},
            {**good, "assigned": many},
            {**good, "muted": 5},
        ):
            with self.assertRaises(SeatError, msg=str(wrong)):
                read_room(json.dumps(wrong))

    def test_of_many_roles_those_are_told_that_matter(self) -> None:
        roles = self.room.roles
        for number in range(50):
            roles = roles.assign((f"sip:{number}@home.com",), Role.MEMBER)
        roles = roles.assign(("sip:bad@home.com",), Role.BANNED)
        self.room.roles = roles
        self.patch(seat, "MAX_USERS", 3)
        told = read_room(write_room(self.room)).roles
        self.assertEqual(len(told.assigned), 3)
        self.assertIs(told.of(self.alice.participant.identity), Role.OWNER)
        self.assertIs(told.assigned["sip:bad@home.com"], Role.BANNED)

    def test_a_room_with_too_much_to_tell(self) -> None:
        self.room.roles = evolve(
            self.room.roles, muted=frozenset(f"sip:{'x' * 500}{n}@home.com" for n in range(400))
        )
        told = read_room(write_room(self.room)).roles
        self.assertEqual(told.muted, frozenset())
        self.assertEqual(told.owners, self.room.roles.owners)

    def test_of_a_static_room_its_record_says_the_rest(self) -> None:
        self.room.static = True
        self.room.roles = evolve(self.room.roles, muted=frozenset({"sip:bob@home.com"}))
        told = read_room(write_room(self.room))
        self.assertEqual(told.assigned, {})
        before = self.room.roles
        self.room.roles = evolve(before, muted=frozenset())
        seat.apply_room(self.room, told)
        self.assertEqual(self.room.roles, before)

    def test_a_response_without_a_description(self) -> None:
        self.move(self.bob)
        request, answer = self.channel.sent[-1]
        answer.callback(Response(200, "OK", request.headers.copy()))
        self.assertEqual(self.channel.requests[-1].method, "BYE")
