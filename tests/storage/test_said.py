"""A message of a room's history as the database has it."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.history import Said
from msrpconf.conference.identity import Identity
from msrpconf.conference.rendition import Speaker
from msrpconf.storage.history import StoredMessage
from msrpconf.storage.said import read_said, write_said

ALICE = Speaker.of(Identity("sip:alice@home.com", "Alice", ("sip:alice@home.com",)), "Ally")
SAID = Said(
    ALICE,
    1795424400.25,
    "2026-11-23T09:00:00Z",
    "text/plain; charset=utf-8",
    (("Content-ID", "<1@home.com>"),),
    b"Gr\xc3\xbc\xc3\x9fe \xff",
)


class SaidTests(SynchronousTestCase):
    def test_it_comes_back(self) -> None:
        self.assertEqual(read_said(write_said(SAID)), SAID)

    @given(st.text(), st.text(), st.none() | st.text())
    def test_whatever_the_texts_are(self, label: str, said_at: str, name: str | None) -> None:
        speaker = evolve(ALICE, label=label, name=name, front=f"{label}: ".encode())
        said = evolve(SAID, speaker=speaker, said_at=said_at)
        self.assertEqual(read_said(write_said(said)), said)

    def test_what_others_wrote_is_refused(self) -> None:
        head = write_said(SAID).head
        for wrong in (
            b"",
            b"\xff",
            b"{}",
            b"[]",
            b"7",
            head.replace(b'"Ally"', b"7"),
            head.replace(b'[["Content-ID", "<1@home.com>"]]', b'[["a"]]'),
            head.replace(b'[["Content-ID", "<1@home.com>"]]', b'[["a", 7]]'),
            head.replace(b'[["Content-ID", "<1@home.com>"]]', b"7"),
        ):
            self.assertRaises(ValueError, read_said, StoredMessage(1.0, wrong, b""))
