"""Focus, dispatcher and server as three processes, the first two killed with SIGKILL.

doc/distributed.md has a table of what these stories show.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import inlineCallbacks

from msrpconf.client import Chat, JoinError
from msrpconf.protocols.sip.flow import Address
from tests.distributed.support import LOOPBACK, ApartTestCase, Story


class DispatcherApartTests(ApartTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Names of sockets are short.
        sockets = Path(mkdtemp(prefix="msrpconf-"))
        self.addCleanup(rmtree, sockets)
        self.socket = f"unix:{sockets}/dispatcher.sock"

    @inlineCallbacks
    def start_dispatcher(self) -> Story:
        config = self.directory / "dispatcher.toml"
        servers = ", ".join(f'"{address}"' for address in self.controls.values())
        config.write_text(
            f'[dispatcher]\nname = "focus-1"\nservers = [{servers}]\ngrace = {self.grace}\n'
            f'listen = "{self.socket}"\n{self.dispatcher}{self.channel("focus-1")}'
        )
        self.dispatching = self.twistd("msrpconf-dispatcher", "dispatcher", config)
        for server in self.controls:
            yield self.dispatching.shows(rf"server {server} has \d+ rooms")

    @inlineCallbacks
    def start_focus(self, name: str = "f1", more: str = "") -> Story:
        config = self.directory / f"{name}.toml"
        if name not in self.addresses:
            self.addresses[name] = Address("udp", LOOPBACK, self.sip_port(name))
        self.via = self.addresses[name]
        config.write_text(
            f'[sip]\nlisten = ["{self.via}"]\n[focus]\nname = "{name}"\n'
            f'dispatcher = "{self.socket}"\n{more}'
        )
        self.focus = self.twistd("msrpconf-focus", name, config)
        yield self.focus.shows("dispatcher focus-1 at unix:.* connected")

    @inlineCallbacks
    def test_the_focus_is_killed_and_comes_back(self) -> Story:
        yield self.start_apart("east")
        yield self.start_dispatcher()
        yield self.start_focus()
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.talk(alice, bob)
        yield self.kill(self.focus)
        yield self.dispatching.shows("focus f1 at unix:.* lost: .*its calls go on")
        yield self.talk(alice, bob)
        # Bob's MSRP breaks, and does not come back: his BYE waits at the dispatcher.
        bob[0].session.connection.close()
        yield self.servers["east"].shows("dropped: MSRP was lost .*sip:bob@")
        yield self.start_focus()
        yield self.until(lambda: self.byes("bob"))
        self.assertIn("MSRP was lost", self.byes("bob")[0])
        self.assertEqual(self.byes("alice"), [])
        carol = yield self.join("carol")
        yield self.talk(alice, carol)
        # A dialog from before.
        yield self.in_time(alice[0].leave())
        yield self.servers["east"].shows(r"left: sip:alice@\S+ in \S+ \(.*; 1 in the room")
        self.assertNotIn("Traceback", self.focus.output + self.dispatching.output)

    @inlineCallbacks
    def test_rooms_move_from_a_server_that_is_killed(self) -> Story:
        self.dispatcher = 'on_server_loss = "move"\n'
        self.patience = 30.0
        yield self.start_apart("east")
        yield self.start_apart("west")
        yield self.start_dispatcher()
        yield self.start_focus()
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        home = yield self.home()
        other = {"east": "west", "west": "east"}[home]
        yield self.kill(self.servers[home])
        for name, (chat, _) in (("alice", alice), ("bob", bob)):
            yield self.servers[other].shows(rf"joined: sip:{name}@")
            yield self.until(partial(self.has_followed, chat))
        yield self.talk(alice, bob)
        self.assertEqual(self.byes("alice") + self.byes("bob"), [])
        yield self.in_time(alice[0].leave())
        yield self.servers[other].shows(r"left: sip:alice@\S+ in \S+ \(.*; 1 in the room")
        self.assertNotIn("Traceback", self.focus.output + self.dispatching.output)

    def has_followed(self, chat: Chat) -> bool:
        return chat.session.connection is not None and not chat.is_following

    @inlineCallbacks
    def test_the_dispatcher_is_killed_and_comes_back(self) -> Story:
        yield self.start_apart("east")
        yield self.start_dispatcher()
        yield self.start_focus()
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.kill(self.dispatching)
        yield self.focus.shows("dispatcher focus-1 at unix:.* lost: .*INVITEs get 503")
        yield self.talk(alice, bob)
        error = yield self.assertFailure(self.join("carol"), JoinError)
        self.assertEqual(error.status, 503)
        self.assertIn("Retry-After: ", "".join(self.seen["carol"]))
        yield self.start_dispatcher()
        yield self.focus.shows(r"(?s)(dispatcher focus-1 at unix:\S* connected.*){2}")
        dave = yield self.join("dave")
        yield self.talk(alice, dave)
        yield self.in_time(bob[0].leave())
        yield self.servers["east"].shows(r"left: sip:bob@\S+ in \S+ \(.*; 2 in the room")
        self.assertNotIn("Traceback", self.focus.output + self.dispatching.output)
        self.dispatching.signals("TERM")
        status = yield self.dispatching.ends()
        self.assertEqual(status, 0, str(self.dispatching))
        self.focus.signals("TERM")
        status = yield self.focus.ends()
        self.assertEqual(status, 0, str(self.focus))
