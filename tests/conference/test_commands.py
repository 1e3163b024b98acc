"""Messages that tell the room to do something."""

from __future__ import annotations

from tests.conference.support import MORE, cpim
from tests.conference.talk import TalkTestCase
from tests.conference.test_room_life import notices


class CommandTests(TalkTestCase):
    """Alice was the first, and owns the room."""

    def test_the_owner_changes_the_subject(self) -> None:
        self.configure(notices=True)
        self.alice.say(cpim("/subject What we talk about"))
        self.assertEqual(self.room.subject, "What we talk about")
        for each in self.others:
            self.assertEqual(
                notices(each), ["alice@home.com has changed the subject: What we talk about"]
            )
        self.alice.connected.hears()
        self.alice.say(cpim("/subject"))
        self.assertIsNone(self.room.subject)

    def test_others_may_not(self) -> None:
        self.carol.say(b"/subject Mine", content_type="text/plain")
        self.assertRefused(403, "Only moderators and above", speaker=self.carol)
        self.assertIsNone(self.room.subject)

    def test_a_voice_is_taken_and_given(self) -> None:
        self.alice.say(cpim("/mute carol@home.com"))
        self.assertEqual(notices(self.alice), ["carol@home.com has no voice any more"])
        self.assertEqual(
            notices(self.carol), ["alice@home.com has taken your voice: what you say is not sent"]
        )
        self.assertNobodyHears()
        self.carol.say(b"Hi", content_type="text/plain")
        self.assertRefused(403, "no voice", speaker=self.carol)
        self.alice.say(cpim("/unmute sip:carol@home.com"))
        self.assertEqual(notices(self.carol), ["alice@home.com has given you a voice again"])
        self.carol.say(b"Hi", content_type="text/plain")
        self.assertEqual(self.carol.told(), ["200 OK"])

    def test_by_nickname(self) -> None:
        self.assertIsNone(self.room.use_nickname(self.carol.participant, b'"Caro"'))
        self.alice.say(cpim("/mute Caro"))
        self.assertTrue(self.carol.participant.muted)

    def test_who_may_not_or_is_not_here(self) -> None:
        self.carol.say(b"/mute bob@home.com", content_type="text/plain")
        self.assertRefused(403, "mute others", speaker=self.carol)
        self.assertFalse(self.bob.participant.muted)
        self.alice.say(cpim("/mute zoe"))
        self.assertRefused(404, "nobody here is called zoe")

    def test_what_is_said(self) -> None:
        said = ["/me laughs", "/", "/mute", "/subjects", "a /subject x", "/subject " + 2048 * "x"]
        for text in said:
            self.alice.say(cpim(text))
        self.alice.say(cpim("/subject x", content_type="text/html"))
        chunked = cpim("/subject in chunks")
        self.alice.say(chunked[:-3], "c", f"1-*/{len(chunked)}", MORE)
        self.alice.say(chunked[-3:], "c", f"{len(chunked) - 2}-*/{len(chunked)}")
        self.assertEqual(len(self.bob.hears_whole()), len(said) + 1)
        self.assertIsNone(self.room.subject)

    def test_not_to_one_alone(self) -> None:
        both = "chatroom:nickname private-messages"
        erin = self.joined("erin", attributes=both)
        self.alice.say(cpim("/subject x", to=("<sip:erin@home.com>",)))
        self.assertEqual(len(erin.hears()), 1)
        self.assertIsNone(self.room.subject)
