"""Rooms that go on at another server when theirs is lost: links in memory, and a clock."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict, evolve
from twisted.internet.defer import Deferred, fail

from msrpconf.conference.bye import send_bye
from msrpconf.conference.history import Said
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.roles import Role
from msrpconf.conference.room import Room
from msrpconf.dispatch import records
from msrpconf.protocols.channel_hello import link_request
from msrpconf.protocols.sdp import SessionDescription
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services import taking_over, telling
from msrpconf.services.handing_over import HandingOver
from msrpconf.services.taking_over import read_history, write_history
from msrpconf.storage.claims import ClaimError
from tests.services.test_dispatching import (
    GRACE,
    OFFER,
    ROOM,
    DispatchTestCase,
    Server,
    TwoDispatchersTestCase,
)

PEOPLE = ("alice", "bob", "carol")


class MovingTestCase(DispatchTestCase):
    """Three people in a room; `answers` are what their clients say to an INVITE, by Call-ID."""

    moves = True

    def setUp(self) -> None:
        self.answers: dict[str, int] = {}
        self.held: dict[str, tuple[Request, Deferred[Response]]] = {}
        super().setUp()
        self.tags = {name: self.come(name) for name in PEOPLE}
        self.lost = self.home(self.tags["alice"])
        (self.other,) = {"east", "west"} - {self.lost}

    def come(self, name: str, room: str = "lobby") -> str:
        """Somebody joins, by a call that is named as they are."""
        sip_uri = f"sip:{name}@example.com"
        request = self.invite(name, room)
        request.headers.set("P-Asserted-Identity", f"<{sip_uri}>")
        request.headers.add("Subject", "All the rest")
        response = self.answer(request)
        self.assertEqual(response.status, 200, response.reason)
        tag = response.to.tag or ""
        self.answer(self.in_dialog("ACK", tag, name))
        return tag

    def to_focus(self, request: Request) -> Response | Deferred[Response]:
        self.sent.append(request)
        if request.method != "INVITE":
            return request.response(200)
        status = self.answers.get(request.call_id, 200)
        if not status:
            answer: Deferred[Response] = Deferred()
            self.held[request.call_id] = request, answer
            return answer
        return self.says(request, status)

    def says(self, request: Request, status: int) -> Response:
        """What a client answers to our INVITE."""
        if status >= 300:
            return request.response(status)
        headers = (
            ("Content-Type", "application/sdp"),
            ("Contact", "<sip:alice@192.0.2.9:5999>"),
        )
        return request.response(200, headers=headers, body=OFFER)

    def lose(self, name: str | None = None) -> None:
        """A server dies, and is given up."""
        self.cables[name or self.lost].break_()
        self.seconds(GRACE)

    def room(self, name: str | None = None, key: str = ROOM) -> Room:
        return self.servers[name or self.other].registry.rooms[key]

    def who(self, name: str, server: str | None = None) -> Participant:
        (found,) = (each for each in self.room(server).participants if each.dialog.call_id == name)
        return found

    def invites(self, call_id: str = "alice") -> list[Request]:
        return [each for each in self.sent if each.method == "INVITE" and each.call_id == call_id]

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


class LossTests(MovingTestCase):
    def test_everybody_is_in_the_room_again(self) -> None:
        self.lose()
        self.assertEqual(self.byes(), [])
        self.assertEqual(self.servers[self.other].calls, sorted(PEOPLE))
        room = self.room()
        self.assertTrue(all(each.state is State.JOINED for each in room.participants))
        self.assertEqual(room.subject, "All the rest")
        self.assertEqual(room.info.user_count, 3)
        self.assertTrue(self.said(f"moved to {self.other}, with 3 calls"))

    def test_nicknames_roles_and_who_is_muted(self) -> None:
        before = self.room(self.lost)
        bob, carol = (self.who(name, self.lost) for name in ("bob", "carol"))
        self.assertIsNone(before.use_nickname(carol, b'"Caroline"'))
        before.roles = before.roles.assign(bob.identity.proven, Role.MODERATOR)
        before.roles = before.roles.mute(carol.identity.keys)
        before.subject = "Something else"
        self.seconds(telling.DELAY + 0.25)
        self.lose()
        room = self.room()
        roles = [self.who(name).role for name in PEOPLE]
        self.assertEqual(roles, [Role.OWNER, Role.MODERATOR, Role.VISITOR])
        self.assertEqual(room.nicknames.of(self.who("carol")), "Caroline")
        self.assertEqual(self.who("carol").speaker.name, "Caroline")
        self.assertEqual(room.subject, "Something else")
        refusal = room.use_nickname(self.who("bob"), b'"caroline"')
        self.assertEqual(refusal and refusal.status, 425)

    def test_the_invite_is_the_next_in_its_dialog(self) -> None:
        dialog = self.who("alice", self.lost).dialog
        first = SessionDescription.parse(self.offered())
        self.lose()
        (invite,) = self.invites()
        self.assertEqual(invite.to.tag, dialog.remote_tag)
        self.assertEqual(invite.from_.tag, self.tags["alice"])
        self.assertGreater(invite.cseq.number, dialog.local_cseq)
        self.assertEqual(str(invite.contacts[0].uri), "sip:lobby@conf.example.com")
        offered = SessionDescription.parse(invite.body)
        self.assertEqual(offered.origin.session_id, first.origin.session_id)
        self.assertEqual(offered.origin.address, first.origin.address)
        versions = int(first.origin.session_version), int(offered.origin.session_version)
        self.assertEqual(versions[1], versions[0] + 1)
        path = offered.media[0].attribute("path")
        self.assertEqual(path, self.who("alice").session.local_path.decode())
        self.assertEqual(str(self.who("alice").dialog.remote_target), "sip:alice@192.0.2.9:5999")

    def offered(self) -> bytes:
        """What alice was answered on the server that is to die, by a re-INVITE of hers."""
        again = self.in_dialog("INVITE", self.tags["alice"], "alice")
        again.body = OFFER
        again.headers.set("Content-Type", "application/sdp")
        return self.answer(again).body

    def test_the_session_timer_goes_on(self) -> None:
        timer = self.who("alice", self.lost).session_timer
        self.assertIsNone(timer)
        update = self.in_dialog("UPDATE", self.tags["alice"], "alice")
        update.headers.set("Supported", "timer")
        update.headers.set("Session-Expires", "600;refresher=uac")
        self.assertEqual(self.answer(update).status, 200)
        self.lose()
        self.assertEqual(self.invites()[0].headers.get("Session-Expires"), "600;refresher=uas")
        timer = self.who("alice").session_timer
        assert timer is not None
        self.assertEqual((timer.interval, timer.ours), (600, True))  # its answer has none

    def test_who_does_not_follow_gets_a_bye(self) -> None:
        self.answers["bob"] = 488
        self.lose()
        self.assertEqual(self.byes(), ["bob"])
        reason = Reason.parse(self.sent[-1].headers.get("Reason") or "")
        self.assertEqual(reason.cause, 503)
        self.assertEqual(self.servers[self.other].calls, ["alice", "carol"])

    def test_who_does_not_answer_gets_it_in_the_end(self) -> None:
        self.answers["bob"] = 0
        self.lose()
        self.assertIs(self.who("bob").state, State.EXPECTED)
        self.seconds(33)
        self.assertEqual(self.byes(), ["bob"])
        request, answer = self.held["bob"]
        answer.callback(self.says(request, 200))
        self.turn()
        self.assertEqual(self.servers[self.other].calls, ["alice", "carol"])

    def test_who_cannot_just_now_is_asked_again(self) -> None:
        self.answers["bob"] = 491
        self.lose()
        self.answers["bob"] = 200
        self.seconds(2.5)
        self.assertEqual(len(self.invites("bob")), 2)
        self.assertIs(self.who("bob").state, State.JOINED)
        self.assertEqual(self.byes(), [])

    def test_but_not_for_ever(self) -> None:
        self.answers["bob"] = 491
        self.lose()
        self.seconds(20)
        self.assertEqual(len(self.invites("bob")), 5)
        self.assertEqual(self.byes(), ["bob"])

    def test_an_answer_without_msrp(self) -> None:
        self.answers["bob"] = 0
        self.lose()
        request, answer = self.held["bob"]
        answer.callback(request.response(200))
        self.turn()
        self.assertEqual(self.byes(), ["bob"])

    def test_the_owner_does_not_follow(self) -> None:
        self.answers["alice"] = 603
        self.lose()
        self.assertIs(self.who("bob").role, Role.OWNER)

    def test_nobody_follows(self) -> None:
        self.answers.update(dict.fromkeys(PEOPLE, 481))
        self.lose()
        self.assertEqual(self.servers[self.other].registry.rooms, {})
        self.assertIsNone(self.dispatcher.tables.home(ROOM))
        self.come("dave")

    def test_who_leaves_while_expected(self) -> None:
        before = self.room(self.lost)
        self.assertIsNone(before.use_nickname(self.who("bob", self.lost), b'"Robert"'))
        self.seconds(telling.DELAY + 0.25)
        self.answers["bob"] = 0
        self.lose()
        bye = self.in_dialog("BYE", self.tags["bob"], "bob")
        self.assertEqual(self.answer(bye).status, 200)
        request, answer = self.held["bob"]
        answer.callback(self.says(request, 200))
        self.turn()
        self.assertEqual(self.servers[self.other].calls, ["alice", "carol"])
        self.assertEqual(self.byes(), [])
        # Nobody slips into the name for a while.
        refusal = self.room().use_nickname(self.who("alice"), b'"Robert"')
        self.assertEqual(refusal and refusal.status, 425)

    def test_no_other_server(self) -> None:
        self.cables[self.other].break_()
        self.lose()
        self.seconds(GRACE)
        self.assertEqual(sorted(self.byes()), sorted(PEOPLE))
        self.assertTrue(self.said(f"{ROOM} of server {self.lost}: 3 calls cannot be moved"))

    def test_the_other_is_full_or_drains(self) -> None:
        self.servers[self.other].registry.draining = True
        self.lose()
        self.assertEqual(sorted(self.byes()), sorted(PEOPLE))
        self.assertTrue(self.said(f"{self.other} does not take {ROOM}: 503 This server is drain"))
        self.assertIsNone(self.dispatcher.tables.home(ROOM))

    def test_who_had_not_joined_yet(self) -> None:
        self.answer(self.invite("dave"))
        self.lose()
        self.assertEqual(self.byes(), ["dave"])

    def test_a_room_that_needs_several_requests(self) -> None:
        self.patch(records, "BATCH", 1)
        self.answers["bob"] = 488
        self.lose()
        self.assertEqual(self.servers[self.other].calls, ["alice", "carol"])
        self.assertEqual(self.byes(), ["bob"])
        self.assertIs(self.who("alice").role, Role.OWNER)
        self.assertEqual(self.room().subject, "All the rest")

    def test_the_same_that_nobody_takes(self) -> None:
        self.patch(records, "BATCH", 1)
        self.servers[self.other].registry.draining = True
        self.lose()
        self.assertEqual(sorted(self.byes()), sorted(PEOPLE))
        self.assertIsNone(self.dispatcher.tables.home(ROOM))

    def test_new_ones_come_to_where_the_room_is(self) -> None:
        self.lose()
        self.assertEqual(self.home(self.come("dave")), self.other)
        self.assertEqual(len(self.room().participants), 4)

    def test_a_room_that_is_lost_twice(self) -> None:
        self.lose()
        self.restart(self.lost)
        self.lose(self.other)
        self.assertEqual(self.byes(), [])
        self.assertEqual(self.servers[self.lost].calls, sorted(PEOPLE))
        order = [each.dialog.call_id for each in self.room(self.lost).participants]
        self.assertEqual(order, list(PEOPLE))
        self.assertIs(self.who("alice", self.lost).role, Role.OWNER)
        numbers = [each.cseq.number for each in self.invites()]
        self.assertEqual(numbers, sorted(set(numbers)))
        bye = self.in_dialog("BYE", self.tags["alice"], "alice")
        self.assertEqual(self.answer(bye).status, 200)
        self.assertEqual(self.servers[self.lost].calls, ["bob", "carol"])

    def test_lost_again_while_they_are_expected(self) -> None:
        self.answers.update(dict.fromkeys(PEOPLE, 0))
        self.lose()
        self.restart(self.lost)
        self.answers.clear()
        self.lose(self.other)
        self.assertEqual(self.servers[self.lost].calls, sorted(PEOPLE))
        self.assertEqual(self.byes(), [])

    def test_a_process_that_starts_anew(self) -> None:
        self.restart(self.lost)
        self.assertEqual(self.byes(), [])
        home = self.dispatcher.tables.home(ROOM)
        assert home is not None
        self.assertEqual(self.servers[home.name].calls, sorted(PEOPLE))
        again = self.home(self.come("dave"))
        self.assertEqual(again, home.name)

    def test_what_a_server_has_ended_while_the_link_was_broken_stays_ended(self) -> None:
        self.cables[self.lost].break_()
        bob = self.who("bob", self.lost)
        self.servers[self.lost].control.attendance.leave(bob, "left")
        self.connect(self.lost)
        self.assertEqual(self.invites("bob"), [])
        self.assertEqual(self.servers[self.lost].calls, ["alice", "carol"])

    def test_back_in_time_nothing_moves(self) -> None:
        self.cables[self.lost].break_()
        self.seconds(GRACE - 1)
        self.connect(self.lost)
        self.seconds(GRACE)
        self.assertEqual(self.sent, [])
        self.assertEqual(self.servers[self.lost].calls, sorted(PEOPLE))


class AfterwardsTests(MovingTestCase):
    """The tag of a dialog still names the server that it began on."""

    def setUp(self) -> None:
        super().setUp()
        self.lose()

    def test_requests_of_a_client_reach_the_new_server(self) -> None:
        for method in ("OPTIONS", "UPDATE"):
            asked = self.in_dialog(method, self.tags["alice"], "alice", cseq=7)
            self.assertEqual(self.answer(asked).status, 200)
        bye = self.in_dialog("BYE", self.tags["alice"], "alice", cseq=8)
        self.assertEqual(self.answer(bye).status, 200)
        self.assertEqual(self.servers[self.other].calls, ["bob", "carol"])

    def test_also_with_a_dispatcher_that_is_new(self) -> None:
        self.cables[self.other].break_()
        self.start(self.other)
        bye = self.in_dialog("BYE", self.tags["bob"], "bob")
        self.assertEqual(self.answer(bye).status, 200)
        self.assertEqual(self.servers[self.other].calls, ["alice", "carol"])

    def test_a_new_one_waits_until_all_have_told_where_a_dialog_is(self) -> None:
        self.cables[self.other].break_()
        self.servers[self.lost] = Server(self.clock, self.lost)  # it was started again
        self.start(self.lost)
        asking = self.ask(self.in_dialog("BYE", self.tags["bob"], "bob"))
        self.assertNoResult(asking)
        self.connect(self.other)
        self.assertEqual(self.successResultOf(asking).status, 200)
        self.assertEqual(self.servers[self.other].calls, ["alice", "carol"])

    def test_but_no_longer_than_the_grace_time(self) -> None:
        self.cables[self.other].break_()
        self.servers[self.lost] = Server(self.clock, self.lost)  # it was started again
        self.start(self.lost)
        asking = self.ask(self.in_dialog("BYE", self.tags["bob"], "bob"))
        self.seconds(GRACE)
        self.assertEqual(self.successResultOf(asking).status, 481)

    def test_what_is_over_is_over(self) -> None:
        for name in PEOPLE:
            self.answer(self.in_dialog("BYE", self.tags[name], name))
        again = self.in_dialog("BYE", self.tags["bob"], "bob", cseq=9)
        self.assertEqual(self.answer(again).status, 481)
        self.assertEqual(self.dispatcher.tables._moved, {})
        self.assertEqual(self.dispatcher.tables.servers[self.other].states, {})

    def test_the_old_server_lets_go_when_it_is_back(self) -> None:
        # Its participants went to the other server, and it has waited in vain.
        server = self.servers[self.lost]
        server.control.attendance.end(self.who("bob", self.lost), Reason("SIP", 408, "No MSRP"))
        self.connect(self.lost)
        self.seconds(1)
        self.assertEqual(self.byes(), [])
        self.assertEqual(server.calls, [])
        self.assertEqual(self.servers[self.other].calls, sorted(PEOPLE))
        self.assertEqual(self.home(self.come("dave")), self.other)

    def test_also_before_a_dispatcher_that_is_new(self) -> None:
        for first in (self.lost, self.other):
            self.cables[self.other].break_()
            self.start(*dict.fromkeys((first, self.lost, self.other)))
            self.seconds(1)
            self.assertEqual(self.byes(), [])
            self.assertEqual(self.servers[self.lost].calls, [])
            self.assertEqual(self.servers[self.other].calls, sorted(PEOPLE))


class HandingOverTests(MovingTestCase):
    """A server stops, and is alive until its rooms are elsewhere."""

    def stop(self, name: str | None = None) -> Deferred[int]:
        """The server hands over what it has; how many people went."""
        server = self.servers[name or self.lost]
        result = HandingOver(server.control, server.links, self.clock).run()
        self.turn()
        self.seconds(1)
        return result

    def test_all_rooms_go(self) -> None:
        rooms = [f"room{number}" for number in range(20)]
        for room in rooms:
            self.come(f"{room}-dave", room)
        went = self.successResultOf(self.stop())
        self.assertGreater(went, len(PEOPLE))
        self.assertEqual(self.servers[self.lost].calls, [])
        self.assertEqual(self.servers[self.lost].registry.rooms, {})
        self.assertEqual(len(self.servers[self.other].calls), len(PEOPLE) + len(rooms))
        self.assertEqual(self.byes(), [])
        self.assertEqual(self.dispatcher.tables.servers[self.lost].dialogs, {})
        self.assertIs(self.who("alice").role, Role.OWNER)
        self.assertEqual(self.home(self.come("erin")), self.other)
        bye = self.in_dialog("BYE", self.tags["alice"], "alice")
        self.assertEqual(self.answer(bye).status, 200)

    def test_what_was_said_goes_along(self) -> None:
        for server in self.servers.values():
            for room in server.registry.rooms.values():
                room.configure(evolve(room.settings, history_messages=3))
            settings = server.control.settings
            more = evolve(settings.room, history_messages=3)
            server.control.settings = evolve(settings, room=more)
        history = self.room(self.lost).history
        speaker = self.who("alice", self.lost).speaker
        for number in range(4):
            text = str(number).encode()
            history.add(Said(speaker, self.clock.seconds(), "now", "text/plain", (), text))
        self.stop()
        told = self.room().history.messages()
        self.assertEqual([each.content for each in told], [b"1", b"2", b"3"])
        self.assertEqual(told[0].speaker, speaker)

    def test_the_oldest_stay_behind(self) -> None:
        self.patch(taking_over, "MAX_SAID", 1200)
        room = self.room(self.lost)
        room.configure(evolve(room.settings, history_messages=100))
        speaker = self.who("alice", self.lost).speaker
        for number in range(10):
            text = bytes([48 + number]) * 200
            room.history.add(Said(speaker, 1.0, "now", "text/plain", (), text))
        told = read_history(write_history(room))
        self.assertEqual([each.content[:1] for each in told], [b"8", b"9"])

    def test_nobody_takes_them(self) -> None:
        self.servers[self.other].registry.draining = True
        self.assertEqual(self.successResultOf(self.stop()), 0)
        self.assertEqual(self.servers[self.lost].calls, sorted(PEOPLE))
        self.assertTrue(self.said(f"{ROOM} was not handed over to another server: 3 of 3 could"))
        # It has them still, as far as the dispatcher knows.
        self.assertEqual(len(self.dispatcher.tables.servers[self.lost].dialogs), 3)
        self.servers[self.lost].control.close(Reason("SIP", 503, "The end"))
        self.turn()
        self.assertEqual(sorted(self.byes()), sorted(PEOPLE))

    def test_the_dispatcher_does_not_answer(self) -> None:
        self.answers.update(dict.fromkeys(PEOPLE, 0))
        self.cables[self.lost].turn = lambda: False  # type: ignore[method-assign]
        result = self.stop()
        self.seconds(10)
        self.assertEqual(self.successResultOf(result), 0)

    def test_who_joins_in_that_moment_goes_along(self) -> None:
        tag = self.answer(self.invite("dave")).to.tag or ""
        self.stop()
        self.assertEqual(self.servers[self.other].calls, [])
        self.answer(self.in_dialog("ACK", tag, "dave"))
        self.seconds(1)
        self.assertEqual(self.servers[self.lost].calls, [])
        self.assertEqual(self.servers[self.other].calls, sorted((*PEOPLE, "dave")))
        self.assertEqual(self.byes(), [])

    def test_who_says_no_ack_is_sent_out_before_the_others_go(self) -> None:
        self.answer(self.invite("dave"))
        result = self.stop()
        self.seconds(2)
        self.assertEqual(self.successResultOf(result), 3)
        self.assertEqual(self.byes(), ["dave"])
        self.assertTrue(self.said("dropped: The conference server is shutting down"))
        self.assertEqual(self.servers[self.lost].calls, [])
        self.assertEqual(self.servers[self.other].calls, sorted(PEOPLE))

    def test_who_does_not_follow_gets_a_bye_of_the_other(self) -> None:
        self.answers["bob"] = 488
        self.stop()
        self.assertEqual(self.byes(), ["bob"])
        self.assertEqual(self.servers[self.other].calls, ["alice", "carol"])

    def test_what_the_old_server_says_afterwards_is_not_passed_on(self) -> None:
        server = self.servers[self.lost]
        bob = self.who("bob", self.lost)
        self.stop()
        sending = send_bye(server.links, bob, Reason("SIP", 408, "No MSRP"))
        self.turn()
        self.successResultOf(sending)
        self.assertEqual(self.byes(), [])

    def test_a_dispatcher_that_moves_nothing(self) -> None:
        self.moves = False
        for cable in self.cables.values():
            cable.break_()
        self.start()
        server = self.servers[self.lost]
        self.assertFalse(HandingOver(server.control, server.links, self.clock).is_possible)
        move = link_request("MOVE", self.lost, [("Room", ROOM)])
        answer = server.links.links["focus-1"].request(move)
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 403)

    def test_a_request_that_cannot_be_read(self) -> None:
        move = link_request("MOVE", self.lost, [("Room", ROOM)], b"{")
        answer = self.servers[self.lost].links.links["focus-1"].request(move)
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 400)
        said = link_request("MOVE", self.lost, [("Room", ROOM)], b'{"said": [["x", "y"]]}')
        answer = self.servers[self.lost].links.links["focus-1"].request(said)
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 400)


class SeveralDispatchersTests(MovingTestCase, TwoDispatchersTestCase):
    """Each gives a server up by itself, and moves what it knows; alice came by the first."""

    def setUp(self) -> None:
        super().setUp()
        self.use("focus-2")
        self.tags["dave"] = self.come("dave")
        self.assertEqual(self.home(self.tags["dave"]), self.lost)

    def kill_lost(self) -> None:
        self.kill_server(self.lost)
        self.seconds(4 * GRACE)

    def test_each_call_moves_once(self) -> None:
        self.kill_lost()
        self.assertEqual(self.byes(), [])
        self.assertEqual(self.servers[self.other].calls, sorted([*PEOPLE, "dave"]))
        for name in (*PEOPLE, "dave"):
            self.assertEqual(len(self.invites(name)), 1)
        for name in ("focus-1", "focus-2"):
            self.use(name)
            entry = self.dispatcher.tables.servers[self.other]
            self.assertEqual(len(entry.dialogs), 4)
        for name in ("focus-2", "focus-1"):
            self.use(name)
            self.assertEqual(self.home(self.come(f"erin-{name}")), self.other)
        bye = self.in_dialog("BYE", self.tags["dave"], "dave")
        self.assertEqual(self.answer(bye).status, 200)

    def test_also_if_one_of_them_is_gone(self) -> None:
        self.kill("focus-1")
        self.seconds(4 * GRACE)
        self.kill_lost()
        self.assertEqual(self.byes(), [])
        self.assertEqual(self.servers[self.other].calls, sorted([*PEOPLE, "dave"]))

    def test_who_does_not_follow_gets_one_bye(self) -> None:
        self.answers.update({"alice": 488, "dave": 488})
        self.kill_lost()
        self.assertEqual(sorted(self.byes()), ["alice", "dave"])

    def test_without_the_database_nobody_can_tell_who_is_gone(self) -> None:
        self.database.away = True
        self.seconds(2)
        self.kill_lost()
        self.assertEqual(self.sent, [])
        self.database.away = False
        self.seconds(8 * GRACE)
        self.assertEqual(self.servers[self.other].calls, sorted([*PEOPLE, "dave"]))

    def test_the_old_server_comes_back_to_one_first(self) -> None:
        self.kill_lost()
        for name in ("focus-2", "focus-1"):
            self.use(name)
            self.connect(self.lost)
            self.seconds(1)
            self.assertEqual(self.servers[self.lost].calls, [])
        self.assertEqual(self.byes(), [])
        self.assertEqual(self.servers[self.other].calls, sorted([*PEOPLE, "dave"]))

    def test_a_server_that_stops_asks_one_and_the_other_learns_it(self) -> None:
        server = self.servers[self.lost]
        result = HandingOver(server.control, server.links, self.clock).run()
        self.turn()
        self.seconds(1)
        self.assertEqual(self.successResultOf(result), 4)
        self.assertEqual(self.byes(), [])
        self.assertEqual(self.servers[self.other].calls, sorted([*PEOPLE, "dave"]))
        for name in ("focus-1", "focus-2"):
            self.use(name)
            self.assertEqual(self.dispatcher.tables.servers[self.lost].dialogs, {})
            home = self.dispatcher.tables.home(ROOM)
            assert home is not None
            self.assertEqual(home.name, self.other)

    def test_also_of_those_who_have_moved_before(self) -> None:
        self.kill_lost()
        self.servers[self.lost] = Server(self.clock, self.lost)
        for name in ("focus-1", "focus-2"):
            self.use(name)
            self.connect(self.lost)
        server = self.servers[self.other]
        result = HandingOver(server.control, server.links, self.clock).run()
        self.turn()
        self.seconds(1)
        # Either dispatcher passes an INVITE on for a dialog that the other has brought there.
        self.assertEqual(self.successResultOf(result), 4)
        self.assertEqual(self.byes(), [])
        self.assertEqual(self.servers[self.lost].calls, sorted([*PEOPLE, "dave"]))
        for name in (*PEOPLE, "dave"):
            self.assertEqual(len(self.invites(name)), 2)

    def test_while_the_room_is_claimed_it_is_nowhere(self) -> None:
        """What comes for it meanwhile is to come again."""
        asked: list[tuple[Any, Deferred[Any]]] = []

        def later(work: Any) -> Deferred[Any]:
            answer: Deferred[Any] = Deferred()
            asked.append((work, answer))
            return answer

        dispatcher = self.dispatcher
        assert dispatcher.claims is not None
        self.kill("focus-1")
        self.seconds(4 * GRACE)
        self.patch(dispatcher.claims, "claim", lambda *arguments: later(arguments))
        self.kill_lost()
        self.assertEqual(len(asked), 1)
        self.assertEqual(self.answer(self.invite("erin")).status, 503)
        options = self.in_dialog("OPTIONS", self.tags["bob"], "bob")
        self.assertEqual(self.answer(options).status, 503)
        bye = self.in_dialog("BYE", self.tags["bob"], "bob")
        self.assertEqual(self.answer(bye).status, 200)
        asked[0][1].callback(self.other)
        self.turn()
        self.assertEqual(self.servers[self.other].calls, ["alice", "carol", "dave"])
        self.assertEqual(self.invites("bob"), [])
        self.assertEqual(self.home(self.come("erin")), self.other)

    def test_the_room_cannot_be_claimed(self) -> None:
        dispatcher = self.dispatcher
        assert dispatcher.claims is not None
        self.kill("focus-1")
        self.seconds(4 * GRACE)
        self.patch(dispatcher.claims, "claim", lambda *_: fail(ClaimError("again and again")))
        self.kill_lost()
        self.assertEqual(sorted(self.byes()), sorted([*PEOPLE, "dave"]))
        self.assertTrue(self.said(f"{ROOM} cannot be claimed: again and again"))


class OneServerTests(DispatchTestCase):
    """What a server makes of a MOVE."""

    moves = True
    names = ("east",)

    def ask_server(self, body: bytes, room: str = ROOM) -> Response:
        headers = [("Origin", "west"), ("Room", room)]
        request = link_request("MOVE", "focus-1", headers, body)
        answer = self.dispatcher.links["east"].request(request)
        self.turn()
        return self.successResultOf(answer)

    def test_what_cannot_be_read(self) -> None:
        for body in (b"{", b"[]", b'{"dialogs": [{"room": 7}]}', b'{"rooms": [["a"]]}'):
            self.assertEqual(self.ask_server(body).status, 400, body)
        state = b'{"rooms": [["%b", "{\\"uri\\": 5"]]}' % ROOM.encode()
        self.assertEqual(self.ask_server(state).status, 400)

    def test_dialogs_of_another_room(self) -> None:
        tag = self.join()
        (record,) = self.dispatcher.tables.servers["east"].dialogs.values()
        self.assertTrue(record.seat)
        self.assertEqual(record.local_tag, tag)
        self.assertEqual(self.ask_server(b"{}", "").status, 400)

    def test_a_seat_that_is_none(self) -> None:
        self.join()
        (record,) = self.dispatcher.tables.servers["east"].dialogs.values()
        for number, seat in enumerate(("", "{}", "[1]", "{", "x" * 16_000)):
            other = evolve(record, call_id=f"other-{number}", seat=seat, moves=1)
            response = self.ask_server(json.dumps({"dialogs": [asdict(other)]}).encode())
            self.assertEqual(response.status, 200)
            self.assertEqual(len(json.loads(response.body)["refused"]), 1)
        self.assertEqual(self.servers["east"].calls, ["call-1"])

    def test_without_moving_no_more_is_told_than_is_needed(self) -> None:
        self.moves = False
        self.cables["east"].break_()
        self.start()
        self.join()
        (record,) = self.dispatcher.tables.servers["east"].dialogs.values()
        self.assertEqual(record.seat, "")
        self.assertEqual(self.dispatcher.tables.servers["east"].states, {})

    def test_who_has_too_much_to_tell(self) -> None:
        keys = ", ".join(f"<sip:{number}-{'x' * 400}@example.com>" for number in range(60))
        request = self.invite()
        request.headers.add("P-Asserted-Identity", keys)
        self.assertEqual(self.answer(request).status, 200)
        self.answer(self.in_dialog("ACK", self.dispatcher_tag()))
        (record,) = self.dispatcher.tables.servers["east"].dialogs.values()
        self.assertEqual(record.seat, "")

    def dispatcher_tag(self) -> str:
        (record,) = self.dispatcher.tables.servers["east"].dialogs.values()
        return record.local_tag
