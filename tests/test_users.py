"""`msrpconf user`, with a database in the tests' own directory."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from tests.processes import ProcessCase


class UserTests(ProcessCase):
    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.config = self.directory / "msrpconf.toml"
        self.config.write_text(
            '[sip]\nauthenticate = true\nrealm = "example.com"\n'
            '[database]\nurl = "sqlite:///users.sqlite"\n'
        )

    @inlineCallbacks
    def user(self, *arguments: str, typed: str = "") -> Generator[Deferred[Any], Any, str]:
        """Runs the command; gives what it writes, after its exit status."""
        program = self.start("msrpconf", "user", "-c", str(self.config), *arguments)
        program.types(typed)
        program.closes_input()
        status = yield program.ends()
        return f"{status}: {program.output}{program.errors}".rstrip()

    @inlineCallbacks
    def test_a_life(self) -> Generator[Deferred[Any], Any, None]:
        added = yield self.user("add", "alice@example.com", typed="secret\n")
        self.assertEqual(added, "0: alice@example.com is a user now")
        again = yield self.user("add", "alice@example.com", typed="secret\n")
        self.assertEqual(again, "1: Error: there is a user alice@example.com already")
        changed = yield self.user("passwd", "sip:alice@example.com", typed="better\n")
        self.assertEqual(changed, "0: alice@example.com has another password now")
        self.assertEqual((yield self.user("list")), "0: alice@example.com")
        deleted = yield self.user("delete", "alice@example.com")
        self.assertEqual(deleted, "0: alice@example.com is no user any more")
        self.assertEqual((yield self.user("list", "example.com")), "0:")
        gone = yield self.user("passwd", "alice@example.com", typed="x\n")
        self.assertEqual(gone, "1: Error: there is no user alice@example.com")

    @inlineCallbacks
    def test_what_is_wrong(self) -> Generator[Deferred[Any], Any, None]:
        for arguments, text in (
            (("add", "alice"), "such as alice@example.com"),
            (("add", "alice@example.org"), "users are NAME@example.com"),
            (("add", "alice@example.com"), "a password has 1 to"),
        ):
            found = yield self.user(*arguments)
            self.assertTrue(found.startswith("1: "), found)
            self.assertIn(text, found)
        self.config.write_text("[focus]\n[server]\n")
        found = yield self.user("list")
        self.assertIn("has no table [database]", found)
