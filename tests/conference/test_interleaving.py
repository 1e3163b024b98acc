"""Chunks in any order, overlapping, mixed with those of others; and octets that are no frames."""

from __future__ import annotations

from random import Random

from attrs import define, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.conference.support import (
    ABORTED,
    COMPLETE,
    MORE,
    TEXT_TYPES,
    Client,
    cpim,
    reassembled,
)
from tests.conference.talk import TalkTestCase
from tests.protocols.msrp.support import Frame, other

HEAD = len(cpim(""))
SEEDS = st.integers(0, 2**32)


@frozen
class Chunk:
    """One SEND: `octets` from position `start`; `last` if the message ends with it."""

    start: int
    octets: bytes
    last: bool

    @property
    def end(self) -> int:
        return self.start - 1 + len(self.octets)


@define(eq=False)
class Saying:
    """A message that somebody is to say, its chunks in the order in which they come."""

    speaker: Client
    message_id: str
    content_type: str
    message: bytes
    chunks: list[Chunk]
    known: bool
    number: int = 0
    come: list[Chunk] | None = None

    def say_next(self) -> bool:
        """Say the next chunk; return whether all of the message has come with it."""
        chunk = self.chunks.pop(0)
        total = str(len(self.message)) if self.known else "*"
        self.speaker.say(
            chunk.octets,
            self.message_id,
            f"{chunk.start}-{chunk.end}/{total}",
            COMPLETE if chunk.last else MORE,
            content_type=self.content_type,
            headers=((b"Success-Report", b"yes"),),
        )
        was_whole = self.is_whole
        self.come = [*(self.come or ()), chunk]
        return self.is_whole and not was_whole

    @property
    def is_whole(self) -> bool:
        position = 0
        for chunk in sorted(self.come or (), key=lambda each: each.start):
            if chunk.start - 1 > position:
                return False
            position = max(position, chunk.end)
            if chunk.last:
                return True
        return False


class CrowdedCase(TalkTestCase):
    """Alice and Bob with CPIM, Carol and Dave with text; Erin and Frank the same behind relays."""

    def setUp(self) -> None:
        super().setUp()
        self.erin, self.frank = self.relayed("erin"), self.relayed("frank", types=TEXT_TYPES)
        self.everybody = (self.alice, *self.others, self.erin, self.frank)

    def relayed(self, name: str, **options: str) -> Client:
        client = self.client(name, **options)
        own = client.path
        client.path = f"msrp://relay.example.com:2855/{name};tcp {own}"
        client.invite()
        client.send("ACK")
        client.path = own
        return client.connect()


def crowd() -> CrowdedCase:
    case = CrowdedCase()
    case.setUp()
    case.doCleanups()
    return case


def cut(message: bytes, random: Random, pieces: int) -> list[Chunk]:
    """Chunks of a message in any order; some overlap, none but the first begins at 1."""
    places = sorted({random.randrange(len(message) + 1) for _ in range(pieces - 1)})
    bounds = [0, *(each for each in places if 0 < each < len(message)), len(message)]
    chunks = []
    for number in range(len(bounds) - 1):
        begin, end = bounds[number], bounds[number + 1]
        if number and random.random() < 0.3:
            begin = random.randrange(1, begin + 1)
        if random.random() < 0.3:
            end = random.randrange(end, len(message) + 1)
        chunks.append(Chunk(begin + 1, message[begin:end], bounds[number + 1] == len(message)))
    if random.random() < 0.8:
        random.shuffle(chunks)
    return chunks


class InterleavingTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=50)
    @given(seed=SEEDS, data=st.data())
    def test_everybody_gets_everything_once_and_in_order(
        self, seed: int, data: st.DataObject
    ) -> None:
        case, random = crowd(), Random(seed)
        sayings: list[Saying] = []
        for speaker in (case.alice, case.bob, case.carol):
            for number in range(data.draw(st.integers(0, 3))):
                size = data.draw(st.sampled_from((1, 10, 300, 5000, 20000)))
                text = b"%d:" % number + random.randbytes(size // 2) * 2
                wrapped = speaker is not case.carol
                message = cpim(text, from_=f"<sip:{speaker.name}@home.com>") if wrapped else text
                sayings.append(
                    Saying(
                        speaker,
                        f"m{number}",
                        "message/cpim" if wrapped else "text/plain",
                        message,
                        cut(message, random, data.draw(st.integers(1, 5))),
                        data.draw(st.booleans()),
                    )
                )
        waiting, whole = list(sayings), list[Saying]()
        heard: dict[str, list[Frame]] = {each.name: [] for each in case.everybody}
        while waiting:
            saying = random.choice(waiting)
            if saying.say_next():
                whole.append(saying)
            if not saying.chunks:
                waiting.remove(saying)
            for each in case.everybody:
                heard[each.name] += each.connected.hears()
        self.assertEqual(len(whole), len(sayings))
        for each in case.everybody:
            frames = heard[each.name]
            for frame in frames:
                self.assertIn(frame.text, ("200 OK", "SEND", "REPORT"))
            self.check_reports(each, frames, [saying for saying in whole if saying.speaker is each])
            got = [body for _, body in reassembled([f for f in frames if f.text == "SEND"])]
            for speaker in (case.alice, case.bob, case.carol):
                expected = [saying for saying in whole if saying.speaker is speaker is not each]
                own = [body for body in got if self.is_of(body, speaker)]
                self.assertEqual(len(own), len(expected))
                for body, saying in zip(own, expected, strict=True):
                    self.check_copy(each, saying, body)
        self.assertEqual(case.room.undelivered, 0)

    def is_of(self, body: bytes, speaker: Client) -> bool:
        name = speaker.name.encode()
        return body.startswith((name + b"@home.com: ", b"From: <sip:" + name + b"@"))

    def check_copy(self, client: Client, saying: Saying, body: bytes) -> None:
        name = saying.speaker.name.encode()
        takes_cpim = client.types != TEXT_TYPES
        said = saying.message
        if saying.content_type == "text/plain":
            if takes_cpim:
                self.assertTrue(body.endswith(b"\r\n\r\nContent-Type: text/plain\r\n\r\n" + said))
            else:
                self.assertEqual(body, name + b"@home.com: " + said)
        elif takes_cpim:
            self.assertEqual(body, said)
        else:
            head = len(cpim("", from_=f"<sip:{saying.speaker.name}@home.com>"))
            self.assertEqual(body, name + b"@home.com: " + said[head:])

    def check_reports(self, client: Client, frames: list[Frame], said: list[Saying]) -> None:
        """One for each message, of all of it, when all of it had come."""
        reports = [frame.head for frame in frames if frame.text == "REPORT"]
        self.assertEqual(
            [(head.message_id.decode(), bytes(head.byte_range)) for head in reports],
            [
                (each.message_id, b"1-%d/%d" % (len(each.message), len(each.message)))
                for each in said
            ],
        )


class BrokenOffTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=60)
    @given(
        size=st.sampled_from((10, 3000, 40000)),
        sent=st.floats(0, 1),
        pieces=st.integers(1, 5),
        end=st.sampled_from(("#", "vanish", "BYE", "silence", "refused")),
        seed=SEEDS,
    )
    def test_who_got_a_part_is_told(
        self, size: int, sent: float, pieces: int, end: str, seed: int
    ) -> None:
        case, random = crowd(), Random(seed)
        incoming = case.alice.session._incoming
        message = cpim(random.randbytes(size))
        part = message[: int(len(message) * sent)]
        places = sorted(random.randrange(len(part) + 1) for _ in range(pieces - 1))
        position = 0
        for place in (*places, len(part)):
            case.alice.say(part[position:place], byte_range=f"{position + 1}-*/*", flag=MORE)
            position = place
        timers = len(case.clock.getDelayedCalls())
        if end == "#":
            case.alice.say(b"", byte_range=f"{position + 1}-*/*", flag=ABORTED)
        elif end == "vanish":
            case.alice.connected.vanishes()
        elif end == "BYE":
            case.alice.send("BYE")
        elif end == "silence":
            case.clock.advance(541)
        else:
            case.alice.say(b"x", byte_range="1-*/1000001", flag=MORE)
        self.assertLessEqual(len(case.clock.getDelayedCalls()), timers + 1)
        for each in case.everybody[1:]:
            frames = each.hears()
            if not frames:
                self.assertLess(len(part), HEAD + 1, each.name)
                continue
            *got, last = frames
            self.assertIs(last.flag, ABORTED)
            self.assertEqual({frame.flag for frame in got}, {MORE})
            octets = sum(len(frame.body) for frame in got)
            self.assertEqual(last.head.byte_range.start, octets + 1)
            self.assertEqual({frame.head.message_id for frame in got}, {last.head.message_id})
            self.assertEqual(each.session._watchers, [])
        self.assertEqual(incoming.held, 0)
        case.bob.say(cpim("still here", from_="<sip:bob@home.com>"), "last")
        self.assertEqual(case.carol.hears_text(), ["bob@home.com: still here"])


IMDN = (
    '<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>34jk324j</message-id>'
    "<display-notification><status><displayed/></status></display-notification></imdn>"
)


class GarbageTests(SynchronousTestCase):
    """What comes from the network is never a traceback, and nobody else's problem."""

    def frames(self, case: CrowdedCase) -> list[bytes]:
        alice = case.alice
        ours = (alice.line.attribute("path") or "").encode()
        session = ours.partition(b"/")[2].partition(b"/")[2].partition(b";")[0].decode()
        named = ("NS: imdn <urn:ietf:params:imdn>", "imdn.Message-ID: 34jk324j")
        private = cpim("psst", to=("<sip:bob@home.com>",))
        return [
            alice.frame(cpim("Hi", headers=named), headers=((b"Success-Report", b"yes"),)),
            alice.frame(cpim("Hi")[:50], "m2", "1-*/*", MORE),
            alice.frame(cpim("Hi")[50:], "m2", "51-*/*"),
            alice.frame(private, "m3"),
            alice.frame(cpim(IMDN, content_type="message/imdn+xml"), "m4"),
            alice.frame(b"Hi", "m5", content_type="text/plain"),
            other(b"NICKNAME", session, Use_Nickname='"Ally ☃"'.encode()),
            other(b"REPORT", session, Message_ID=b"m1", Byte_Range=b"1-2/2", Status=b"000 200 OK"),
        ]

    @settings(deadline=None, max_examples=100)
    @given(seed=SEEDS, changes=st.integers(0, 6))
    def test_mutated_frames(self, seed: int, changes: int) -> None:
        case, random = crowd(), Random(seed)
        case.room.history.limit(10, 3600)
        octets = bytearray(b"".join(random.sample(self.frames(case), 8)))
        for _ in range(changes):
            place = random.randrange(len(octets))
            kind = random.randrange(4)
            if kind == 0:
                octets[place] = random.randrange(256)
            elif kind == 1:
                del octets[place : place + random.randrange(1, 40)]
            elif kind == 2:
                octets[place:place] = random.randbytes(random.randrange(1, 20))
            else:
                other_place = random.randrange(len(octets))
                octets[place:place] = octets[other_place : other_place + random.randrange(80)]
        while octets:
            size = random.choice((1, 7, 100, 5000))
            case.alice.connected.says(bytes(octets[:size]))
            del octets[:size]
        self.check(case)

    @settings(deadline=None, max_examples=50)
    @given(segments=st.lists(st.binary(max_size=200), max_size=8))
    def test_random_octets(self, segments: list[bytes]) -> None:
        case = crowd()
        for each in segments:
            case.alice.connected.says(each)
        self.check(case)

    def check(self, case: CrowdedCase) -> None:
        """Alice may have lost her connection, and nobody notices."""
        case.alice.connected.vanishes()
        for each in case.everybody[1:]:
            each.connected.hears()
        case.alice.connect()
        case.alice.say(cpim("still here"), "last")
        self.assertEqual(case.alice.told(), ["200 OK"])
        (heard,) = case.carol.hears_text()
        self.assertTrue(heard.endswith(": still here"), heard)
        self.assertEqual(len(case.erin.hears()), 1)
        failures = [event for event in case.events if "log_failure" in event]
        self.assertEqual(failures, [])
