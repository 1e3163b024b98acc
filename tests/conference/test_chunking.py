"""However a message is cut into chunks, and these into segments, each gets it whole."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.conference.support import COMPLETE, MORE, Client, cpim
from tests.conference.talk import TalkTestCase

Cuts = list[float]
"""Where to cut, as parts of the whole."""

cuts = st.lists(st.floats(0, 1, exclude_max=True), max_size=6)
bodies = st.one_of(
    st.binary(max_size=300),
    # More than a piece, and in more than one frame's uninterrupted length.
    st.binary(min_size=30, max_size=60).map(lambda octets: octets * 900),
)


def divided(octets: bytes, where: Cuts) -> list[bytes]:
    """`octets` in pieces, some of them perhaps empty."""
    places = [0, *sorted(int(each * len(octets)) for each in where), len(octets)]
    return [octets[a:b] for a, b in pairwise(places)]


def chunks(
    speaker: Client, message: bytes, message_id: str, content_type: str, where: Cuts, known: bool
) -> list[bytes]:
    """The SENDs of a message; `known` is whether they tell how long it is."""
    frames: list[bytes] = []
    parts = divided(message, where)
    start = 1
    for number, part in enumerate(parts, 1):
        byte_range = f"{start}-*/{len(message) if known else '*'}"
        flag = COMPLETE if number == len(parts) else MORE
        frames.append(speaker.frame(part, message_id, byte_range, flag, content_type=content_type))
        start += len(part)
    return frames


def talk() -> TalkTestCase:
    """A room and its people, for one example."""
    case = TalkTestCase()
    case.setUp()
    case.doCleanups()
    return case


class ChunkingTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=60)
    @given(body=bodies, where=cuts, segments=cuts, known=st.booleans())
    def test_cpim(self, body: bytes, where: Cuts, segments: Cuts, known: bool) -> None:
        case = talk()
        message = cpim(body)
        frames = chunks(case.alice, message, "m1", "message/cpim", where, known)
        case.alice.connected.says(*filter(None, divided(b"".join(frames), segments)))
        self.assertEqual(case.bob.hears_whole(), [("message/cpim", message)])
        for each in (case.carol, case.dave):
            self.assertEqual(
                each.hears_whole(),
                [("text/plain; charset=utf-8", b"alice@home.com: " + body)],
            )
        self.assertEqual(case.alice.told(), ["200 OK"] * len(frames))

    @settings(deadline=None, max_examples=60)
    @given(body=bodies, where=cuts, segments=cuts, known=st.booleans())
    def test_text(self, body: bytes, where: Cuts, segments: Cuts, known: bool) -> None:
        case = talk()
        frames = chunks(case.carol, body, "m1", "text/plain", where, known)
        case.carol.connected.says(*filter(None, divided(b"".join(frames), segments)))
        self.assertEqual(case.dave.hears_whole(), [("text/plain", b"carol@home.com: " + body)])
        for each in (case.alice, case.bob):
            ((content_type, heard),) = each.hears_whole()
            self.assertEqual(content_type, "message/cpim")
            head, content = heard.split(b"\r\n\r\nContent-Type: text/plain\r\n\r\n", 1)
            self.assertTrue(head.startswith(b"From: <sip:carol@home.com>\r\nTo: "), head)
            self.assertEqual(content, body)

    @settings(deadline=None, max_examples=40)
    @given(one=st.binary(max_size=300), two=st.binary(max_size=300), where=cuts, mixed=st.randoms())
    def test_two_messages_mixed(self, one: bytes, two: bytes, where: Cuts, mixed: Random) -> None:
        case = talk()
        first, second = cpim(one), cpim(two)
        waiting = [
            chunks(case.alice, first, "one", "message/cpim", where, True),
            chunks(case.alice, second, "two", "message/cpim", where[1:], False),
        ]
        while any(waiting):
            source = mixed.choice([each for each in waiting if each])
            case.alice.connected.says(source.pop(0))
        self.assertEqual(
            sorted(case.bob.hears_whole()),
            sorted([("message/cpim", first), ("message/cpim", second)]),
        )
        self.assertEqual(
            sorted(body for _, body in case.carol.hears_whole()),
            sorted([b"alice@home.com: " + one, b"alice@home.com: " + two]),
        )
