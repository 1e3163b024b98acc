"""Operators and those who watch a room."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from attrs import evolve

from msrpconf.conference.identity import Identity
from msrpconf.protocols.watcher_info import Watcher
from msrpconf.services.management.api import functions
from msrpconf.services.management.guard import Guard
from msrpconf.services.management.http import ManagementFactory
from msrpconf.services.management.router import Router
from tests.services.management.support import PATH, ManagementTestCase

WATCHERS = f"{PATH}/watchers"


class WatcherTests(ManagementTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.joined("alice")
        self.found: list[tuple[Identity, Watcher]] = []

    def watched(self) -> None:
        """Have a presence agent here, which tells what is in `found`."""
        watchers = SimpleNamespace(identified=lambda key: self.found, waiting=range(4))
        notifier = SimpleNamespace(by_package=lambda: {"conference": 3}, notified=7)
        agent = SimpleNamespace(watchers=watchers)
        presence: Any = SimpleNamespace(agent=agent, notifier=notifier)
        self.parts = evolve(self.parts, presence=presence)
        router = Router(Guard(self.token, self.local), functions(self.parts, False))
        self.factory = ManagementFactory(router, self.clock)

    def test_where_others_know_it(self) -> None:
        self.refused(self.ask("GET", WATCHERS), 409, "not in this process")
        reply = self.ask("PATCH", f"{WATCHERS}/wendy@home.com", {"allowed": True})
        self.refused(reply, 409, "write [database] into its configuration")

    def test_who_watches(self) -> None:
        self.watched()
        self.assertEqual(self.get(WATCHERS), {"watchers": [], "total": 0, "next": None})
        hidden = "sip:anonymous@anonymous.invalid"
        wendy = Identity(hidden, "W", ("sip:wendy@home.com", hidden), anonymous=True)
        self.found = [
            (wendy, Watcher("a1", hidden, "waiting", "timeout", "W", 5)),
            *(
                (wendy, Watcher(f"b{number}", hidden, "active", "approved", None, 7, 60))
                for number in range(3)
            ),
        ]
        page = self.get(f"{WATCHERS}?limit=1")
        self.assertEqual((page["total"], page["next"]), (4, "a1"))
        self.assertEqual(
            page["watchers"],
            [
                {
                    "id": "a1",
                    "user": "sip:wendy@home.com",
                    "uri": hidden,
                    "display_name": "W",
                    "anonymous": True,
                    "status": "waiting",
                    "event": "timeout",
                    "duration": 5,
                    "expires_in": None,
                }
            ],
        )
        page = self.get(f"{WATCHERS}?after=a1")
        self.assertEqual([each["id"] for each in page["watchers"]], ["b0", "b1", "b2"])
        self.assertEqual((page["next"], page["watchers"][0]["expires_in"]), (None, 60))
        self.refused(self.ask("GET", f"{WATCHERS}?after=x"), 400, "they watch no more")

    def test_metrics(self) -> None:
        self.assertNotIn(b"msrpconf_subscriptions", self.ask("GET", "/metrics").body)
        self.watched()
        text = self.ask("GET", "/metrics").body.decode()
        for line in (
            'msrpconf_subscriptions{package="conference"} 3.0',
            'msrpconf_subscriptions{package="conference.winfo"} 0.0',
            "msrpconf_watchers_waiting 4.0",
            "msrpconf_notifies_total 7.0",
        ):
            self.assertIn(line, text)

    def test_no_such_room(self) -> None:
        self.refused(self.ask("GET", "/v1/rooms/a@b/watchers"), 404, "there is no room")
