"""Messages in any number of chunks, mixed, split and out of order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from msrpconf.protocols.msrp.frame import ByteRange
from msrpconf.protocols.msrp.reception import MAX_HELD, PIECE
from msrpconf.protocols.msrp.session import Piece, Session
from tests.protocols.msrp.support import (
    ABORTED,
    COMPLETE,
    MORE,
    SessionCase,
    send,
)


class ChunkTests(SessionCase):
    def test_chunks(self) -> None:
        self.alice.says(send(b"abcd", b"m1", b"1-*/8", MORE))
        self.assertEqual(self.message.data, b"abcd", "handed on before the rest is here")
        self.alice.says(send(b"EFGH", b"m1", b"5-8/8"))
        self.assertEqual(self.message.data, b"abcdEFGH")
        self.assertEqual([piece.start for piece in self.message.pieces], [1, 5])
        self.assertEqual([piece.total for piece in self.message.pieces], [8, 8])
        self.assertEqual(self.message.flags, [MORE, COMPLETE])
        self.assertEqual(self.alice.hears_text(), ["200 OK", "200 OK"])
        self.assertEqual(self.clock.getDelayedCalls(), [], "no timer is left")

    def test_total_that_only_the_first_chunk_tells(self) -> None:
        self.alice.says(send(b"ab", b"m1", b"1-*/6", MORE), send(b"cd", b"m1", b"3-*/*", MORE))
        self.assertEqual(self.message.pieces[1].total, 6)

    def test_total_that_is_not_true(self) -> None:
        """What is forwarded must not lie beyond the total that it names."""
        self.alice.says(send(b"abcd", b"m1", b"1-*/2", MORE))
        self.assertIsNone(self.message.pieces[0].total)

    def test_many_chunks(self) -> None:
        text = bytes(range(97, 123)) * 8
        for start in range(len(text)):
            flag = COMPLETE if start == len(text) - 1 else MORE
            self.alice.says(send(text[start : start + 1], b"m1", b"%d-*/*" % (start + 1), flag))
        self.assertEqual(self.message.data, text)
        self.assertEqual(self.message.flags, [MORE] * (len(text) - 1) + [COMPLETE])
        self.assertEqual(self.alice.hears_text(), ["200 OK"] * len(text))

    def test_message_id_may_be_used_again_after_the_end(self) -> None:
        self.alice.says(send(b"one"), send(b"two"))
        self.assertEqual([message.data for message in self.handler.messages], [b"one", b"two"])

    def test_aborted_by_the_sender(self) -> None:
        self.alice.says(send(b"abcd", b"m1", b"1-*/8", MORE), send(b"E", b"m1", b"5-*/8", ABORTED))
        self.assertEqual(self.message.flags, [MORE, ABORTED])
        self.assertEqual(self.message.abortions, 0, "the last piece says it")
        self.assertEqual(self.alice.hears_text(), ["200 OK", "200 OK"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.alice.says(send(b"FGH", b"m1", b"6-8/8"))
        self.assertEqual(self.alice.hears_text(), ["200 OK"], "late, and of no message any more")
        self.assertEqual(len(self.handler.messages), 1)

    def test_aborted_without_a_body(self) -> None:
        self.alice.says(send(b"abcd", b"m1", b"1-*/8", MORE), send(None, b"m1", b"5-*/8", ABORTED))
        self.assertEqual(self.message.flags, [MORE, ABORTED])

    def test_aborted_at_once(self) -> None:
        self.alice.says(send(b"ab", b"m1", b"1-*/8", ABORTED))
        self.assertEqual(self.message.flags, [ABORTED])

    def test_large_chunk_is_handed_on_in_pieces(self) -> None:
        text = b"0123456789abcdef" * (PIECE // 4)
        octets = send(text, b"m1", b"1-*/%d" % len(text))
        for start in range(0, len(octets), 1000):
            self.alice.says(octets[start : start + 1000])
            if start > 2 * PIECE:
                self.assertLess(start - len(self.message.data), PIECE + 3000)
        self.assertEqual(self.message.data, text)
        self.assertEqual(self.message.flags, [MORE] * (len(self.message.pieces) - 1) + [COMPLETE])
        for piece in self.message.pieces[:-1]:
            self.assertGreaterEqual(len(piece.data), PIECE)
        self.assertEqual(self.alice.hears_text(), ["200 OK"])

    def test_last_piece_is_not_empty(self) -> None:
        text = b"x" * (2 * PIECE)
        octets = send(text, b"m1", b"1-*/%d" % len(text))
        begin = octets.index(text)
        self.alice.says(octets[:begin])
        for start in range(begin, begin + len(text), PIECE):
            self.alice.says(octets[start : start + PIECE])
        self.alice.says(octets[begin + len(text) :])
        self.assertEqual(self.message.data, text)
        self.assertTrue(all(piece.data for piece in self.message.pieces))

    def test_chunks_of_messages_take_turns(self) -> None:
        self.alice.says(
            send(b"a", b"m1", b"1-*/*", MORE),
            send(b"1", b"m2", b"1-*/*", MORE),
            send(b"b", b"m1", b"2-*/*", MORE),
            send(b"2", b"m2", b"2-2/2"),
            send(b"c", b"m1", b"3-3/3"),
        )
        self.assertEqual([message.data for message in self.handler.messages], [b"abc", b"12"])

    def test_none_accepts_and_lets_the_rest_pass(self) -> None:
        begun: list[Piece] = []

        def message_begun(session: Session, piece: Piece) -> None:
            begun.append(piece)

        self.patch(self.handler, "message_begun", message_begun)
        self.alice.says(send(b"a", b"m1", b"1-*/2", MORE), send(b"b", b"m1", b"2-2/2"))
        self.assertEqual(len(begun), 1)
        self.assertEqual(self.alice.hears_text(), ["200 OK", "200 OK"])

    def test_first_chunk_may_be_overtaken(self) -> None:
        self.alice.says(
            send(b"c", b"m1", b"3-3/3", success=b"yes"), send(b"b", b"m1", b"2-*/3", MORE)
        )
        self.assertEqual(self.handler.messages, [])
        self.alice.says(send(b"a", b"m1", b"1-*/3", MORE))
        self.assertEqual(self.message.data, b"abc")
        self.assertEqual(self.clock.getDelayedCalls()[1:], [])

    def test_a_chunk_that_comes_again_after_the_end(self) -> None:
        chunks = send(b"a", b"m1", b"1-*/2", MORE), send(b"b", b"m1", b"2-2/2")
        self.alice.says(*chunks, chunks[1])
        self.assertEqual(self.alice.hears_text(), 3 * ["200 OK"])
        self.assertEqual(len(self.handler.messages), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.alice.says(*chunks)
        self.assertEqual(len(self.handler.messages), 2, "from its beginning it is another one")

    def test_what_ended_is_not_remembered_for_ever(self) -> None:
        for number in range(100):
            name = b"m%d" % number
            self.alice.says(send(b"a", name, b"1-*/2", MORE), send(b"b", name, b"2-2/2"))
        ended = self.session._incoming._ended
        assert ended is not None
        self.assertEqual(len(ended), 32)

    def test_a_first_chunk_that_never_comes(self) -> None:
        for number in range(20):
            self.alice.says(send(b"b", b"m%d" % number, b"2-*/9", MORE))
        told = self.alice.hears_text()
        self.assertEqual(told[:16], 16 * ["200 OK"])
        self.assertTrue(all(each.startswith("413 ") for each in told[16:]), told)
        self.clock.advance(540)
        self.assertEqual(self.handler.messages, [])
        self.alice.says(send(b"a"))
        self.assertEqual(self.alice.hears_text(), ["200 OK"])


class OrderTests(SessionCase):
    """RFC 4975 §7.3.1: relays may change the order, and octets may come twice."""

    def test_chunk_that_overtook_another_waits(self) -> None:
        self.alice.says(
            send(b"ab", b"m1", b"1-*/8", MORE, success=b"yes"),
            send(b"gh", b"m1", b"7-8/8", COMPLETE, success=b"yes"),
            send(b"ef", b"m1", b"5-*/8", MORE, success=b"yes"),
        )
        self.assertEqual(self.message.data, b"ab")
        self.assertEqual(self.alice.hears_text(), ["200 OK"] * 3)
        self.alice.says(send(b"cd", b"m1", b"3-*/8", MORE, success=b"yes"))
        self.assertEqual(self.message.data, b"abcdefgh")
        self.assertEqual([piece.start for piece in self.message.pieces], [1, 3, 5, 7])
        self.assertEqual(self.message.flags, [MORE, MORE, MORE, COMPLETE])
        answer, last = self.alice.hears()
        self.assertEqual((answer.text, last.text), ("200 OK", "REPORT"))
        self.assertEqual(last.head.byte_range, ByteRange(1, 8, 8))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_octets_that_come_twice(self) -> None:
        self.alice.says(
            send(b"abcd", b"m1", b"1-*/8", MORE),
            send(b"abcd", b"m1", b"1-*/8", MORE),
            send(b"CDef", b"m1", b"3-*/8", MORE),
            send(b"efgh", b"m1", b"5-8/8"),
        )
        self.assertEqual(self.message.data, b"abcdefgh")
        self.assertEqual([piece.start for piece in self.message.pieces], [1, 5, 7])

    def test_last_chunk_that_says_nothing_new(self) -> None:
        self.alice.says(send(b"abcd", b"m1", b"1-*/4", MORE), send(b"cd", b"m1", b"3-4/4"))
        self.assertEqual((self.message.data, self.message.flags), (b"abcd", [MORE, COMPLETE]))

    def test_how_much_may_wait(self) -> None:
        self.alice.says(send(b"a", b"m1", b"1-*/*", MORE))
        for number in range(MAX_HELD):
            self.alice.says(send(b"x", b"m1", b"%d-*/*" % (3 + number), MORE))
        self.assertEqual(self.alice.hears_text(), ["200 OK"] * (MAX_HELD + 1))
        self.alice.says(send(b"x", b"m1", b"99-*/*", MORE))
        self.assertRefused(413, "in order")
        self.assertEqual(self.message.abortions, 1)
        # What waited is forgotten, and another message may have some waiting.
        self.alice.says(send(b"a", b"m2", b"1-*/*", MORE), send(b"c", b"m2", b"3-3/3"))
        self.assertEqual(self.alice.hears_text(), ["200 OK", "200 OK"])

    def test_abortion_forgets_what_waits(self) -> None:
        self.alice.says(
            send(b"ab", b"m1", b"1-*/8", MORE),
            send(b"gh", b"m1", b"7-8/8"),
            send(b"", b"m1", b"9-*/8", ABORTED),
        )
        self.assertEqual((self.message.data, self.message.flags), (b"ab", [MORE, ABORTED]))

    @given(data=st.data())
    @settings(deadline=None, max_examples=60)
    def test_any_order_after_the_first(self, data: st.DataObject) -> None:
        self.setUp()
        text = data.draw(st.binary(min_size=1, max_size=40))
        cuts = data.draw(st.lists(st.integers(1, len(text)), max_size=6).map(sorted))
        spans = list(zip([0, *cuts], [*cuts, len(text)], strict=True))
        rest = data.draw(st.permutations(spans[1:]))
        again = data.draw(st.lists(st.sampled_from(spans[:-1]), max_size=3)) if cuts else []
        for number, (begin, end) in enumerate([spans[0], *again, *rest]):
            last = (begin, end) == spans[-1] and number >= len(again)
            flag = COMPLETE if last and end == len(text) else MORE
            chunk = send(text[begin:end], b"m1", b"%d-*/*" % (begin + 1), flag)
            self.alice.says(chunk)
            if self.message.flags[-1] is COMPLETE:
                break
        self.assertEqual(self.message.data, text)
        self.assertEqual(self.message.flags, [MORE] * (len(self.message.pieces) - 1) + [COMPLETE])
        position = 1
        for piece in self.message.pieces:
            self.assertEqual(piece.start, position)
            position += len(piece.data)


class PropertyTests(SessionCase):
    @given(data=st.data())
    @settings(deadline=None, max_examples=100)
    def test_messages_arrive_whole_once_and_in_order(self, data: st.DataObject) -> None:
        """Whatever chunks they come in, mixed however, and however the octets are split."""
        self.setUp()
        texts = data.draw(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
        chunks: list[list[bytes]] = []
        for number, text in enumerate(texts):
            cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4).map(sorted))
            spans = zip([0, *cuts], [*cuts, len(text)], strict=True)
            made = [
                send(text[begin:end], b"m%d" % number, b"%d-*/*" % (begin + 1), MORE)
                for begin, end in spans
            ]
            made[-1] = made[-1][:-3] + b"$\r\n"
            chunks.append(made)
        octets = b""
        expected = sum(map(len, chunks))
        while any(chunks):
            octets += data.draw(st.sampled_from([each for each in chunks if each])).pop(0)
        cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=12).map(sorted))
        for begin, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
            self.alice.says(octets[begin:end])
        found = {message.pieces[0].message_id: message for message in self.handler.messages}
        self.assertEqual(len(found), len(self.handler.messages), "a message was begun twice")
        for number, text in enumerate(texts):
            message = found[b"m%d" % number]
            self.assertEqual(message.data, text)
            self.assertEqual(message.flags, [MORE] * (len(message.pieces) - 1) + [COMPLETE])
            self.assertEqual(message.abortions, 0)
        self.assertEqual(self.alice.hears_text(), ["200 OK"] * expected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
