"""Rooms that go on at another server when theirs is killed: `on_server_loss = "move"`."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import gatherResults, inlineCallbacks

from msrpconf.client import Chat, UserAgent
from msrpconf.protocols.sip.transaction import ServerTransaction
from tests.distributed.support import ApartTestCase, Story, reactor
from tests.scenarios.embedded import Heard

Person = tuple[Chat, Heard]


class MovingTestCase(ApartTestCase):
    dispatcher = 'on_server_loss = "move"\n'
    patience = 30.0

    @inlineCallbacks
    def in_room(self, *names: str, room: str = "lobby") -> Any:
        """These people join; give them, the server of the room, and the other one."""
        people = []
        for name in names:
            people.append((yield self.join(name, room)))
        home = yield self.home(room)
        return people, home, {"east": "west", "west": "east"}[home]

    @inlineCallbacks
    def moved(self, server: str, *names: str) -> Story:
        """Wait until these are in a room at a server, with their MSRP."""
        for name in names:
            yield self.servers[server].shows(rf"joined: sip:{name}@")
            yield self.until(partial(self.is_bound, name))

    def is_bound(self, name: str) -> bool:
        (chat,) = (each for each in self.chats if each.user == f"sip:{name}@example.com")
        return chat.session.connection is not None and not chat.is_following

    def refuses(self, chat: Chat) -> None:
        """Have somebody's client refuse to follow."""

        def request_received(transaction: ServerTransaction) -> None:
            if transaction.request.method == "INVITE":
                transaction.answer(488)
            else:
                Chat.request_received(chat, transaction)

        chat.request_received = request_received  # type: ignore[method-assign]


class ServerIsKilledTests(MovingTestCase):
    @inlineCallbacks
    def test_people_talk_on(self) -> Story:
        yield self.begin("east", "west")
        people, home, other = yield self.in_room("alice", "bob", "carol")
        alice, bob, carol = people
        yield self.talk(*people)
        yield self.in_time(bob[0].use_nickname("Robert"))
        # Dispatchers are told of it a moment later, on the link that this takes.
        yield self.in_time(alice[0].mute("sip:carol@example.com", False))
        dave = yield self.join("dave")
        yield self.in_time(dave[0].leave())
        yield self.servers[home].shows("left: sip:dave@")
        yield self.kill(self.servers[home])
        yield self.moved(other, "alice", "bob", "carol")
        yield self.talk(*people)
        for name in ("alice", "bob", "carol"):
            self.assertEqual(self.byes(name), [])
        # Alice is the owner still, and Bob has his name.
        yield self.in_time(alice[0].mute("sip:carol@example.com"))
        yield self.in_time(bob[0].send("I am Bob"))
        message = yield self.in_time(alice[1].next())
        self.assertEqual(message.name, "Robert")
        # Who comes now comes to where the room is, and who leaves is gone.
        erin = yield self.join("erin")
        yield self.in_time(alice[0].send("Welcome"))
        self.assertEqual((yield self.in_time(erin[1].next())).text, "Welcome")
        yield self.in_time(carol[0].leave())
        yield self.servers[other].shows(r"left: sip:carol@\S+ in \S+ \(.*; 3 in the room")
        self.assertNotIn("Traceback", self.focus.output + self.servers[other].output)

    @inlineCallbacks
    def test_who_does_not_follow_gets_a_bye(self) -> Story:
        yield self.begin("east", "west")
        people, home, other = yield self.in_room("alice", "bob")
        self.refuses(people[1][0])
        yield self.kill(self.servers[home])
        why = yield self.in_time(people[1][1].ended)
        self.assertIn("did not follow to another server: 488", why)
        self.assertIn("Reason: SIP;cause=503", self.byes("bob")[0])
        yield self.moved(other, "alice")
        carol = yield self.join("carol")
        yield self.talk(people[0], carol)

    @inlineCallbacks
    def test_the_server_starts_again_at_once(self) -> Story:
        self.grace = 60.0
        yield self.begin("east")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.kill(self.servers["east"])
        yield self.start_apart("east")
        yield self.moved("east", "alice", "bob")
        yield self.talk(alice, bob)
        self.assertEqual(self.byes("alice") + self.byes("bob"), [])

    @inlineCallbacks
    def test_the_dispatcher_starts_anew_after_that(self) -> Story:
        yield self.begin("east", "west")
        people, home, other = yield self.in_room("alice", "bob")
        yield self.kill(self.servers[home])
        yield self.moved(other, "alice", "bob")
        yield self.kill(self.focus)
        yield self.start_apart(home)
        yield self.start_focus()
        yield self.talk(*people)
        yield self.in_time(people[1][0].leave())
        yield self.servers[other].shows(r"left: sip:bob@\S+ in \S+ \(.*; 1 in the room")

    @inlineCallbacks
    def test_no_server_is_left(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        yield self.kill(self.servers["east"])
        why = yield self.in_time(alice[1].ended)
        self.assertIn("The conference server has failed", why)


class ServerComesBackTests(MovingTestCase):
    silence = 1.0

    @inlineCallbacks
    def test_it_lets_go_of_what_was_moved(self) -> Story:
        yield self.begin("east", "west")
        people, home, other = yield self.in_room("alice", "bob")
        # It says nothing for a while, and does not know it.
        self.servers[home].signals("STOP")
        yield self.moved(other, "alice", "bob")
        yield self.talk(*people)
        self.servers[home].signals("CONT")
        for name in ("alice", "bob"):
            yield self.servers[home].shows(rf"(left|dropped: .*): sip:{name}@")
        yield self.focus.shows(rf"(?s)not come back.*server {home} has \d+ rooms and \d+ calls")
        yield self.talk(*people)
        carol = yield self.join("carol")
        yield self.talk(people[0], carol)
        self.assertEqual((yield self.in_time(people[1][1].next())).text, "from 0")
        for name in ("alice", "bob"):
            self.assertEqual(self.byes(name), [])
        yield self.in_time(people[0][0].leave())
        yield self.servers[other].shows(r"left: sip:alice@\S+ in \S+ \(.*; 2 in the room")


class StaticRoomTests(MovingTestCase):
    """A room of the database, which both servers have, with what was said there."""

    history = '[database]\nurl = "sqlite:///rooms.sqlite"\nrefresh = 1.0\n'

    @inlineCallbacks
    def test_it_goes_on_with_its_history(self) -> Story:
        uri = "sip:lobby@conf.example.com"
        options = "--set", "history_messages=10", "--member", "bob@example.com"
        managed = self.history + '[management]\nlisten = "127.0.0.1:0"\n'
        yield self.start_apart("east", managed)
        found = yield self.servers["east"].shows(r"management at (http://[\d.]+:\d+)")
        creating = self.start("msrpconf", "room", "create", uri, *options, "--url", found[1])
        self.assertEqual((yield creating.ends()), 0, str(creating))
        yield self.start_apart("west", self.history)
        yield self.start_focus()
        people, home, other = yield self.in_room("alice", "bob")
        yield people[0][0].send("Remember this")
        yield self.in_time(people[1][1].next())
        self.servers[home].signals("TERM")
        self.assertEqual((yield self.servers[home].ends()), 0)
        yield self.moved(other, "alice", "bob")
        yield self.talk(*people)
        told: list[str] = []
        agent = UserAgent(reactor, "sip:carol@example.com")
        self.agents.append(agent)
        chat = yield agent.join(uri, via=self.via, on_notice=lambda each: told.append(each.text))
        self.chats.append(chat)
        yield self.until(lambda: "from 1" in told)
        self.assertEqual(told, ["Remember this", "from 0", "from 1"])


class ServerStopsTests(MovingTestCase):
    conference = "rate = 0.0\n"

    @inlineCallbacks
    def test_nothing_is_lost(self) -> Story:
        yield self.begin("east", "west")
        people, home, other = yield self.in_room("alice", "bob", "carol")
        said: dict[str, list[str]] = {"alice": [], "bob": []}
        going = True

        @inlineCallbacks
        def chatter(chat: Chat, name: str) -> Story:
            while going:
                text = f"{name} {len(said[name])}"
                yield self.in_time(chat.send(text))
                said[name].append(text)

        def all_said(least: int) -> bool:
            return all(len(each) >= least for each in said.values())

        chatting = gatherResults([chatter(people[0][0], "alice"), chatter(people[1][0], "bob")])
        yield self.until(lambda: all_said(20))
        self.servers[home].signals("TERM")
        status = yield self.servers[home].ends()
        self.assertEqual(status, 0)
        yield self.moved(other, "alice", "bob", "carol")
        before = max(map(len, said.values()))
        yield self.until(lambda: all_said(before + 20))
        going = False
        yield chatting
        yield people[2][0].send("enough")
        yield people[0][0].send("enough")
        for speakers, (_, heard) in zip(
            (["bob"], ["alice"], ["alice", "bob"]), people, strict=True
        ):
            yield self.until(partial(self.heard_enough, heard))
            for name in speakers:
                texts = [each.text for each in heard.messages if each.text.startswith(name)]
                self.assertEqual(texts, said[name])
        for name in ("alice", "bob", "carol"):
            self.assertEqual(self.byes(name), [])
        for program in (self.focus, self.servers[home], self.servers[other]):
            self.assertNotIn("Traceback", program.output)

    def heard_enough(self, heard: Heard) -> bool:
        return heard.messages[-1].text == "enough"

    @inlineCallbacks
    def test_there_is_no_other(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        self.servers["east"].signals("TERM")
        why = yield self.in_time(alice[1].ended)
        self.assertIn("shutting down", why)
        status = yield self.servers["east"].ends()
        self.assertEqual(status, 0)
