from __future__ import annotations

from datetime import datetime

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.message import Message, Person
from msrpconf.protocols.cpim import FILE_NAMESPACE
from msrpconf.protocols.sdp_file import FileSelector

ROOM = "sip:lobby@conf.example.com"


def told_at(date_time: str) -> datetime | None:
    """When a message was said whose wrapper says this."""
    wrapped = (
        f"From: <sip:alice@example.com>\r\nTo: <{ROOM}>\r\nDateTime: {date_time}\r\n\r\n"
        "Content-Type: text/plain\r\n\r\nhi"
    )
    message = Message.of("message/cpim", wrapped.encode("ascii"), ROOM)
    assert message.text == "hi"
    return message.date_time


class TimeTests(SynchronousTestCase):
    def test_a_time_with_its_zone(self) -> None:
        time = told_at("2024-05-06T07:08:09+02:00")
        self.assertEqual(time, datetime.fromisoformat("2024-05-06T05:08:09+00:00"))

    def test_what_is_no_time_is_none(self) -> None:
        for text in (
            "yesterday",
            "2024-05-06T07:08:09",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
        ):
            with self.subTest(text):
                self.assertIsNone(told_at(text))


class PrivateTests(SynchronousTestCase):
    def is_private(self, to: str) -> bool:
        wrapped = f"From: <sip:alice@example.com>\r\nTo: <{to}>\r\n\r\n\r\nhi"
        contact = "sip:lobby@192.0.2.1:5060;room-domain=conf.example.com"
        return Message.of("message/cpim", wrapped.encode("ascii"), ROOM, (contact,)).is_private

    def test_what_is_said_to_one(self) -> None:
        self.assertTrue(self.is_private("sip:bob@example.com"))

    def test_each_name_of_the_room_is_the_room(self) -> None:
        for to in (
            ROOM,
            "sip:lobby@CONF.example.com:5070;transport=tcp",
            "sip:lobby@192.0.2.1",
            "sip:anonymous@anonymous.invalid",
        ):
            self.assertFalse(self.is_private(to), to)

    def test_text_without_a_wrapper(self) -> None:
        self.assertFalse(Message.of("text/plain", b"hi", ROOM).is_private)


class WordTests(SynchronousTestCase):
    """What is the room's own word, and what only looks like it."""

    def message(self, sender: str, kind: str = "status") -> Message:
        wrapped = (
            f"From: <{sender}>\r\nTo: <{ROOM}>\r\nNS: agp <urn:ag-projects:xml:ns:cpim>\r\n"
            f"agp.Message-Type: {kind}\r\nNS: file <{FILE_NAMESPACE}>\r\n"
            'file.File-Selector: name:"a"\r\n\r\n\r\nThe room is closed'
        )
        return Message.of("message/cpim", wrapped.encode("ascii"), ROOM)

    def test_the_room_speaks(self) -> None:
        message = self.message(ROOM)
        self.assertEqual((message.kind, message.file), ("status", FileSelector("a")))

    def test_somebody_else_speaks(self) -> None:
        message = self.message("sip:eve@example.com")
        self.assertEqual((message.kind, message.file), ("", None))

    def test_what_somebody_has_said_before(self) -> None:
        self.assertEqual(self.message("sip:eve@example.com", "history").kind, "history")


class PersonTests(SynchronousTestCase):
    def test_nobody_writes_lines_by_a_name(self) -> None:
        person = Person("sip:eve@example.com", "Eve\n  bob@example.com")
        self.assertEqual(str(person), r"Eve\n  bob@example.com <eve@example.com>")
        self.assertEqual(str(Person("sip:eve@example.com")), "eve@example.com")
