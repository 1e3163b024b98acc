"""Nicknames: whose they are, and what is none (RFC 7701 §7)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.nicknames import MAX_KEPT, Nickname, Nicknames, read_use_nickname
from msrpconf.protocols.msrp.session import Refusal

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"


class NicknameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.names = Nicknames(self.clock, quarantine=60.0)

    def use(self, device: str, user: str, text: str) -> int:
        refusal = self.names.use(device, user, f'"{text}"'.encode())
        return 200 if refusal is None else refusal.status

    def test_taken_and_shown_as_prepared(self) -> None:
        self.assertEqual(self.use("phone", ALICE, "  Alice   the  great "), 200)
        self.assertEqual(self.names.of("phone"), "Alice the great")

    def test_another_user_cannot_have_it_in_any_case_of_letters(self) -> None:
        self.use("phone", ALICE, "Ally")
        self.assertEqual(self.use("b", BOB, "ALLY"), 425)
        self.assertEqual(self.use("b", BOB, "ally "), 425)
        self.assertIsNone(self.names.of("b"))

    def test_the_same_user_on_two_devices(self) -> None:
        self.use("phone", ALICE, "Ally")
        self.assertIsNone(self.names.of("laptop"))
        self.assertEqual(self.use("laptop", ALICE, "ALLY"), 200)
        self.use("phone", ALICE, "Other")
        self.assertEqual(self.use("b", BOB, "Ally"), 425)
        self.use("laptop", ALICE, "")
        self.assertEqual(self.use("b", BOB, "Ally"), 200)

    def test_change_releases_the_old_one_only_once_accepted(self) -> None:
        self.use("b", BOB, "Bobby")
        self.use("phone", ALICE, "Ally")
        self.assertEqual(self.use("phone", ALICE, "bobby"), 425)
        self.assertEqual(self.names.of("phone"), "Ally")
        self.assertEqual(self.use("phone", ALICE, "Alicia"), 200)
        self.assertEqual(self.use("b", BOB, "Ally"), 200)

    def test_reserved_words(self) -> None:
        self.assertEqual(self.use("phone", ALICE, "Moderator"), 425)

    def test_malformed(self) -> None:
        for value in (
            b'"open',
            b'"',
            b'"in"side"',
            b'"bad \\escape"',
            b'"ends with \\"',
            b"",
            b'ba"re',
            b"\xff\xfe",
            b'"\x01"',
            b'"   "',
            b'"' + b"x" * 1024 + b'"',
        ):
            refusal = self.names.use("phone", ALICE, value)
            assert isinstance(refusal, Refusal), value
            self.assertEqual(refusal.status, 424, value)

    def test_bare_and_escaped(self) -> None:
        self.assertEqual(read_use_nickname(b"Ally"), "Ally")
        self.assertEqual(read_use_nickname(rb'"A \"B\" \\C"'), 'A "B" \\C')
        self.assertEqual(read_use_nickname("“Ünï”".encode()), "“Ünï”")

    def test_kept_for_who_left(self) -> None:
        self.use("phone", ALICE, "Ally")
        self.names.left("phone", ALICE)
        self.assertEqual(self.use("b", BOB, "ally"), 425)
        self.clock.advance(59)
        self.assertEqual(self.names.returned("new phone", ALICE), "Ally")
        self.assertEqual(self.names.of("new phone"), "Ally")
        self.assertIsNone(self.names.returned("laptop", ALICE))

    def test_free_after_the_quarantine(self) -> None:
        self.use("phone", ALICE, "Ally")
        self.names.left("phone", ALICE)
        self.clock.advance(60)
        self.assertEqual(self.use("b", BOB, "ally"), 200)
        self.assertIsNone(self.names.returned("phone", ALICE))

    def test_a_shorter_quarantine(self) -> None:
        """Who leaves later may be waited for less long."""
        self.use("phone", ALICE, "Ally")
        self.names.left("phone", ALICE)
        self.names.configure((), 10.0)
        self.use("b", BOB, "Bobby")
        self.names.left("b", BOB)
        self.clock.advance(11)
        self.assertEqual(self.use("c", "sip:carol@example.com", "ally"), 425)
        self.assertEqual(self.use("c", "sip:carol@example.com", "bobby"), 200)

    def test_what_waits_for_nobody_any_more_is_forgotten(self) -> None:
        for n in range(5):
            self.use(f"d{n}", f"sip:u{n}@example.com", f"nick{n}")
            self.names.left(f"d{n}", f"sip:u{n}@example.com")
        self.clock.advance(61)
        self.use("phone", ALICE, "Ally")
        self.names.left("phone", ALICE)
        self.assertEqual(list(self.names._kept), [ALICE])
        self.assertEqual(list(self.names._keepers), ["ally"])

    def test_what_is_kept_is_bounded(self) -> None:
        for n in range(MAX_KEPT + 10):
            self.use(f"d{n}", f"sip:u{n}@example.com", f"nick{n}")
            self.names.left(f"d{n}", f"sip:u{n}@example.com")
        self.assertEqual(len(self.names._kept), MAX_KEPT)

    def test_examples_of_rfc_8266(self) -> None:
        """§3, table 1."""
        for text, compared in (
            ("Foo", "foo"),
            ("foo", "foo"),
            ("Foo Bar", "foo bar"),
            ("foo bar", "foo bar"),
            ("\u03a3", "\u03c3"),
            ("\u03c3", "\u03c3"),
            ("\u03c2", "\u03c2"),
            ("\u03d4", "\u03cb"),
            ("\u221e", "\u221e"),
            ("Richard \u2163", "richard iv"),
        ):
            self.assertEqual(Nickname.prepare(text).key, compared, ascii(text))

    def test_what_looks_the_same_is_the_same(self) -> None:
        """Blanks of any kind and number, widths, ligatures, accents apart."""
        for one, other in (
            ("Ally Cat", "\u00a0Ally \u3000 Cat\u2003"),
            ("Ally", "\uff21lly"),
            ("\ufb01sh", "FISH"),
            ("Ren\u00e9", "Rene\u0301"),
            # A sigma that is small at the end of a word, or not, depending on how it came.
            ("\u4e00\u03a3\u4e00", "\u4e00\u03f9\u4e00"),
        ):
            self.names = Nicknames(self.clock)
            self.assertEqual(self.use("phone", ALICE, one), 200, ascii(one))
            self.assertEqual(self.use("b", BOB, other), 425, ascii(other))

    def test_characters_that_nobody_sees(self) -> None:
        for text in ("a\u200db", "a\u202eb", "a\u2028b", "\u200b", "a\ufeffb", "\x7f"):
            self.assertEqual(self.use("phone", ALICE, text), 424, ascii(text))

    def test_it_does_not_become_longer_than_it_may_be(self) -> None:
        self.assertEqual(self.use("phone", ALICE, "x" * 1023), 200)
        self.assertEqual(self.use("phone", ALICE, "\ufdfa" * 341), 424)
        self.assertEqual(self.names.of("phone"), "x" * 1023)

    @given(st.text(max_size=8))
    @settings(deadline=None, max_examples=300)
    def test_what_is_shown_decides(self, text: str) -> None:
        try:
            nickname = Nickname.prepare(text)
        except ValueError:
            return
        again = Nickname.prepare(nickname.text)
        if again.text == nickname.text:
            self.assertEqual(again.key, nickname.key)

    @given(st.binary(max_size=60))
    @settings(deadline=None, max_examples=200)
    def test_anything_is_a_nickname_or_refused(self, value: bytes) -> None:
        refusal = Nicknames(Clock()).use("phone", ALICE, value)
        if refusal is not None:
            self.assertIn(refusal.status, (424, 425))
