from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.message import Message
from msrpconf.client.rendering import (
    MAX_CHARACTERS,
    MAX_LINES,
    MAX_NAME,
    MAX_NAMES,
    STYLES,
    Names,
    Rendering,
    plain,
)

ROOM = "sip:lobby@example.com"
ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"
NOW = datetime(2026, 11, 23, 9, 25, 39, tzinfo=timezone(timedelta(hours=1)))


def text(body: str, sender: str = BOB, name: str | None = "Bob", to: str = ROOM) -> Message:
    return Message(sender, name, to, "text/plain; charset=utf-8", body.encode("utf-8"))


def rendering() -> Rendering:
    return Rendering(ROOM, ALICE, "Alice", lambda: NOW)


class RenderingCase(SynchronousTestCase):
    def shown(self, message: Message) -> str:
        fragments = rendering().message(message)
        assert fragments is not None
        return plain(fragments)


class MessageTests(RenderingCase):
    def test_time_name_and_text(self) -> None:
        self.assertEqual(self.shown(text("hi")), "09:25 Bob: hi")

    def test_who_gives_no_name_is_called_by_the_address(self) -> None:
        self.assertEqual(self.shown(text("hi", name=None)), "09:25 bob: hi")
        elsewhere = text("hi", "sip:bob@example.net:5070", None)
        self.assertEqual(self.shown(elsewhere), "09:25 bob@example.net: hi")

    def test_more_lines_are_indented(self) -> None:
        self.assertEqual(
            self.shown(text("a\r\n09:26 Carol: b\nc\n\n")),
            "09:25 Bob: a\n      09:26 Carol: b\n      c",
        )

    def test_a_private_message_is_marked(self) -> None:
        private = evolve(text("hi", to=ALICE), is_private=True)
        self.assertEqual(self.shown(private), "09:25 Bob (only to you): hi")

    def test_a_private_message_from_another_device_of_ours(self) -> None:
        private = evolve(text("hi", to="sip:carol@example.net"), is_private=True)
        self.assertEqual(self.shown(private), "09:25 Bob (only to carol@example.net): hi")
        self.assertEqual(self.shown(text("hi", to="sip:lobby@EXAMPLE.com:5060")), "09:25 Bob: hi")

    def test_what_the_room_says_has_no_name(self) -> None:
        self.assertEqual(
            self.shown(text("bob@example.com: hi", ROOM, None)), "09:25 bob@example.com: hi"
        )

    def test_what_is_not_text_is_told_of(self) -> None:
        picture = Message(BOB, None, ROOM, "image/PNG", b"\x89PNG")
        self.assertEqual(self.shown(picture), "09:25 bob sent image/png, 4 octets")
        picture = Message(ROOM, None, ROOM, "image/\x1b[2J", b"1")
        self.assertEqual(self.shown(picture), r"09:25 the room sent image/\x1b[2j, 1 octet")

    def test_what_is_not_for_people_is_not_shown(self) -> None:
        typing = Message(BOB, None, ROOM, "application/im-iscomposing+xml", b"<isComposing/>")
        self.assertIsNone(rendering().message(typing))

    def test_an_older_message_has_the_time_when_it_was_said(self) -> None:
        def said(when: datetime) -> str:
            return self.shown(Message(BOB, None, ROOM, "text/plain", b"hi", when))

        self.assertEqual(said(datetime(2026, 11, 23, 8, 25, 9, tzinfo=UTC)), "09:25 bob: hi")
        self.assertEqual(said(datetime(2026, 11, 23, 7, 5, tzinfo=UTC)), "08:05 bob: hi")
        self.assertEqual(said(datetime(2026, 11, 22, 23, 5, tzinfo=UTC)), "00:05 bob: hi")
        self.assertEqual(
            said(datetime(2026, 11, 22, 22, 5, tzinfo=UTC)), "2026-11-22 23:05 bob: hi"
        )

    def test_a_time_that_cannot_be_is_not_believed(self) -> None:
        for when in (
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
            datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-14))),
            datetime(2020, 1, 1),
        ):
            message = Message(BOB, None, ROOM, "text/plain", b"hi", when)
            self.assertEqual(self.shown(message), "09:25 bob: hi")

    def test_names_keep_their_colour(self) -> None:
        view, other = rendering(), rendering()
        first = view.message(text("hi"))
        view.message(text("hi", "sip:carol@example.com", "Carol"))
        assert first is not None
        again = other.message(text("ho", "sip:bob@example.com:5060;ob"))
        assert again is not None
        self.assertEqual(first[1], again[1])
        self.assertIn(first[1][0].removeprefix("class:"), STYLES)


class OwnTests(SynchronousTestCase):
    def test_what_one_says_oneself(self) -> None:
        self.assertEqual(plain(rendering().own("a\nb")), "09:25 Alice: a\n      b")
        self.assertEqual(
            plain(Rendering(ROOM, ALICE, None, lambda: NOW).own("a")), "09:25 alice: a"
        )

    def test_notices(self) -> None:
        view = rendering()
        self.assertEqual(view.notice("a\n\x1bb"), [("class:notice", "* a\n  \\x1bb")])
        self.assertEqual(view.notice("a", "error"), [("class:error", "* a")])


class HostileTests(RenderingCase):
    def test_nothing_reaches_the_terminal_but_text(self) -> None:
        message = text("\x1b[2J\x1b]0;owned\x07\x9b1A\rme: \x08", name="\x1b[31mBob\x07")
        self.assertEqual(
            self.shown(message),
            "09:25 \\x1b[31mBob\\x07 <bob@example.com>: \\x1b[2J\\x1b]0;owned\\x07\\x9b1A\n"
            "      me: \\x08",
        )

    def test_an_address_with_escapes_keeps_them(self) -> None:
        message = text("hi", "sip:bob%1b%0A09%3a26%20carol@example.com", None)
        self.assertEqual(self.shown(message), "09:25 bob%1B%0A09%3A26%20carol: hi")

    def test_long_texts_are_cut(self) -> None:
        shown = self.shown(text("x" * (MAX_CHARACTERS + 5)))
        self.assertEqual(
            len(shown), len("09:25 Bob: ") + MAX_CHARACTERS + len("\n      [5 more characters]")
        )
        shown = self.shown(text("x\n" * (MAX_LINES + 7)))
        self.assertEqual(shown.count("\n"), MAX_LINES)
        self.assertTrue(shown.endswith("\n      [7 more lines]"))

    def test_long_names_are_cut(self) -> None:
        self.assertEqual(self.shown(text("hi", name="x" * 500)), f"09:25 {'x' * MAX_NAME}: hi")

    @settings(deadline=None, max_examples=100)
    @given(st.text(), st.text() | st.none(), st.text(), st.text(max_size=20), st.binary())
    def test_any_message_is_shown_in_printable_lines(
        self, sender: str, name: str | None, to: str, subtype: str, body: bytes
    ) -> None:
        for kind in (f"text/{subtype}", f"image/{subtype}"):
            first, *more = self.shown(Message(sender, name, to, kind, body)).split("\n")
            self.assertTrue(first.startswith("09:25 "))
            for line in more:
                self.assertTrue(line.startswith("      "))
            for line in (first, *more):
                self.assertNotRegex(
                    line, "[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
                )


class NamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.names = Names("example.com")

    def test_who_takes_a_name_that_is_taken_is_shown_with_the_address(self) -> None:
        self.assertEqual(self.names.label(BOB, "Bob"), "Bob")
        mallory = "sip:mallory@example.com"
        for name in ("Bob", " bob", "ＢＯＢ"):
            label = self.names.label(mallory, name)
            self.assertEqual(label, f"{name.strip()} <mallory@example.com>")
        self.assertEqual(self.names.label("sip:bob@EXAMPLE.com:5060", "Bob"), "Bob")

    def test_an_address_that_is_anothers_name(self) -> None:
        self.assertEqual(self.names.label("sip:mallory@example.com", "bob"), "bob")
        self.assertEqual(self.names.label(BOB, None), "bob <bob@example.com>")

    def test_a_name_that_looks_like_more_is_shown_with_the_address(self) -> None:
        for name in ("Bob: hi", "bob@example.com", "Bob (only to you)", "Bob <bob", "* Bob"):
            label = self.names.label("sip:mallory@example.com", name)
            self.assertEqual(label, f"{name} <mallory@example.com>")

    def test_names_of_all_scripts(self) -> None:
        for name in ("Zoë O’Neil-Smith", "愛子", "दीपिका", "J. R. 2", "Ana \U0001f338"):
            self.assertEqual(self.names.label(f"sip:{len(name)}@example.com", name), name)

    def test_no_more_than_so_many_are_remembered(self) -> None:
        for number in range(MAX_NAMES):
            self.names.label(f"sip:{number}@example.com", None)
        self.assertEqual(self.names.label(BOB, "Bob"), "Bob <bob@example.com>")
        self.assertEqual(self.names.label("sip:1@example.com", None), "1")
