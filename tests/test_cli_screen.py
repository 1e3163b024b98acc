"""`msrpconf chat` in a wide terminal: the whole of it, and the terminal as it was afterwards."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from tests.processes import ProcessCase

WIDE = ("sh", "-c", 'stty cols 110 rows 30; exec "$0" "$@"')
PRESENCE = "[presence]\ninterval = 0.1\n"


class ScreenTests(ProcessCase):
    @inlineCallbacks
    def test_people_beside_the_talk(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server(settings=PRESENCE)
        chat = ("msrpconf", "chat", room, "--as", "alice")
        alice = self.start(*chat, terminal=True, by=WIDE)
        yield alice.shows("1 here")
        yield alice.shows("alice owner|alice[^\n]*owner")
        bob = self.start("msrpconf", "chat", room, "--as", "bob", "--name", "Bobby")
        yield bob.shows("You are in")
        yield alice.shows(r"Bobby")
        bob.types("hi\n")
        # What is drawn is what has changed; in another style than before, that is all of it.
        yield alice.shows(r"Bobby[^\n]*: hi")
        alice.types("/leave\r")
        status = yield alice.ends()
        self.assertEqual(status, 0, alice)
        before, off, after = alice.output.rpartition("\x1b[?1049l")
        self.assertTrue(off, alice)
        self.assertIn("\x1b[?1049h", before)
        # What was said stays.
        self.assertRegex(after, r"Bobby[^\n]*: hi")
        yield server.shows("left: sip:alice")

    @inlineCallbacks
    def test_without_the_panel(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server(settings=PRESENCE)
        chat = ("msrpconf", "chat", room, "--as", "alice")
        alice = self.start(*chat, "--no-panel", terminal=True, by=WIDE)
        yield alice.shows("alice>")
        yield server.shows("joined: sip:alice")
        bob = self.start("msrpconf", "chat", room, "--as", "bob")
        yield bob.shows("Here already: alice")
        yield alice.shows(r"bob[^\n]* has joined")
        alice.types("\x04")
        status = yield alice.ends()
        self.assertEqual(status, 0, alice)
        self.assertNotIn("\x1b[?1049h", alice.output)
