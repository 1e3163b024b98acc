"""What deployed clients put on the wire, as they put it there, and what they need of the room."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import inlineCallbacks

from tests.scenarios.figures import ROOM, TEXT_LINES, Endpoint, FigureTestCase, Story
from tests.scenarios.wire import attribute, header

BLINK_LINES = """
    a=accept-types:message/cpim text/* image/* application/im-iscomposing+xml
    a=accept-wrapped-types:text/* image/* application/im-iscomposing+xml
    a=setup:active"""
RCS_LINES = """
    a=accept-types:message/cpim application/im-iscomposing+xml
    a=accept-wrapped-types:text/plain message/imdn+xml
    a=setup:active
    a=sendrecv"""


class ClientTestCase(FigureTestCase):
    def enters(self, name: str, lines: str, path: str = "") -> Any:
        path = path or f"msrp://{name}.example.com:2855/{name}session;tcp"
        return self.enter(name, f"sip:{name}@example.com", path, lines=lines)

    def writes(
        self,
        each: Endpoint,
        body: str,
        *headers: str,
        transaction: str = "t1",
        from_path: str = "",
        byte_range: str = "1-*/*",
        flag: str = "$",
        content_type: str = "message/cpim",
    ) -> None:
        """Write one SEND to the octet."""
        lines = (
            f"MSRP {transaction} SEND",
            f"To-Path: {each.server_path}",
            f"From-Path: {from_path or each.path}",
            "Message-ID: m1",
            f"Byte-Range: {byte_range}",
            *headers,
            f"Content-Type: {content_type}",
            "",
            body,
            f"-------{transaction}{flag}\r\n",
        )
        each.writes("\r\n".join(lines))

    @inlineCallbacks
    def assertTaken(self, each: Endpoint, transaction: str = "t1") -> Story:
        self.assertAnswers(each, (yield each.hears()), transaction, "200 OK")

    def body(self, copy: str) -> str:
        """The body of a copy of the room's."""
        return copy.partition("\r\n\r\n")[2].rpartition("\r\n-------")[0]


class BlinkTests(ClientTestCase):
    """Blink and sip-session."""

    @inlineCallbacks
    def test_features_that_it_looks_for(self) -> Story:
        blink = yield self.enters("blink", BLINK_LINES)
        self.assertIn(";isfocus", header(blink.answer, "Contact"))
        self.assertIn("message/cpim", attribute(blink.answer, "accept-types").split())
        self.assertEqual(attribute(blink.answer, "chatroom"), "nickname private-messages")
        self.assertEqual(attribute(blink.answer, "setup"), "passive")

    @inlineCallbacks
    def test_a_nickname_without_quotes(self) -> Story:
        blink = yield self.enters("blink", BLINK_LINES)
        blink.sends("""
            MSRP n1 NICKNAME
            To-Path: {room}
            From-Path: {us}
            Use-Nickname: Ally
            -------n1$""")
        yield self.assertTaken(blink, "n1")

    @inlineCallbacks
    def test_success_reports(self) -> Story:
        """Only a REPORT of 200 counts as delivered."""
        blink = yield self.enters("blink", BLINK_LINES)
        body = f"From: <sip:blink@example.com>\r\nTo: <{ROOM}>\r\n\r\nContent-Type: text/plain"
        self.writes(blink, f"{body}\r\n\r\nHi", "Success-Report: yes")
        yield self.assertTaken(blink)
        report = yield blink.hears()
        self.assertIn(" REPORT\r\n", report)
        self.assertEqual(header(report, "Message-ID"), "m1")
        self.assertEqual(header(report, "Status"), "000 200 OK")

    @inlineCallbacks
    def test_the_question_for_otr(self) -> Story:
        """It is said into the room on joining; who says it wants to hear nothing of it."""
        blink, other = (
            (yield self.enters("blink", BLINK_LINES)),
            (yield self.enters("o", BLINK_LINES)),
        )
        body = (
            f"From: <sip:blink@example.com>\r\nTo: <{ROOM}>\r\n\r\n"
            "Content-Type: text/plain\r\n\r\n?OTRv3?"
        )
        self.writes(blink, body, "Failure-Report: no", "Success-Report: no")
        yield self.assertNobodyHearsMore(blink)
        self.assertEqual(self.body((yield other.hears())), body)

    @inlineCallbacks
    def test_inner_headers_that_end_in_a_bare_lf(self) -> Story:
        blink = yield self.enters("blink", BLINK_LINES)
        other = yield self.enters("other", BLINK_LINES)
        text = yield self.enters("text", TEXT_LINES)
        body = (
            f"From: <sip:blink@example.com>\r\nTo: <{ROOM}>\r\n"
            "DateTime: 2026-11-23T09:00:00Z\r\n\r\n"
            "Content-Type: text/plain; charset=utf-8\n\nHi"
        )
        self.writes(blink, body)
        yield self.assertTaken(blink)
        self.assertEqual(self.body((yield other.hears())), body)
        self.assertEqual(self.body((yield text.hears())), "blink@example.com: Hi")

    @inlineCallbacks
    def test_typing(self) -> Story:
        blink = yield self.enters("blink", BLINK_LINES)
        other = yield self.enters("other", BLINK_LINES)
        text = yield self.enters("text", TEXT_LINES)
        body = (
            f"From: <sip:blink@example.com>\r\nTo: <{ROOM}>\r\n\r\n"
            "Content-Type: application/im-iscomposing+xml\r\n\r\n"
            "<?xml version='1.0'?>\n"
            '<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state>'
            "<refresh>60</refresh></isComposing>"
        )
        self.writes(blink, body, "Failure-Report: partial")
        self.assertEqual(self.body((yield other.hears())), body)
        yield self.assertNobodyHearsMore(blink, other, text)

    @inlineCallbacks
    def test_an_offer_to_wait_or_to_connect(self) -> Story:
        """actpass, with a port that is its own: it is left to it to connect."""
        lines = BLINK_LINES.replace("active", "actpass")
        blink = yield self.enters("blink", lines)
        self.assertIn(attribute(blink.answer, "setup"), ("passive", "active"))

    @inlineCallbacks
    def test_register_harms_nothing(self) -> Story:
        blink = yield self.enters("blink", BLINK_LINES)
        blink.sip.send(f"""
            REGISTER sip:127.0.0.1 SIP/2.0
            Via: SIP/2.0/UDP 127.0.0.1:{blink.sip.port};rport;branch=z9hG4bKregister
            Max-Forwards: 70
            From: <sip:blink@example.com>;tag=r
            To: <sip:blink@example.com>
            Call-ID: register
            CSeq: 1 REGISTER
            Contact: <sip:blink@127.0.0.1:{blink.sip.port}>""")
        answer = yield blink.sip.next()
        self.assertTrue(answer.startswith("SIP/2.0 405 "), answer)
        yield self.assertNobodyHearsMore(blink)


class LibraryTests(ClientTestCase):
    """msrp-node-lib and msrp-java."""

    @inlineCallbacks
    def test_node_binds_with_a_message_id_alone(self) -> Story:
        node = self.endpoint("node", "sip:node@example.com", "msrp://n.example.com:9/n;tcp")
        yield self.join(node)
        yield self.connect(
            node,
            """
            MSRP bind1 SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: first
            -------bind1$""",
        )

    @inlineCallbacks
    def test_node_keeps_its_connection_open(self) -> Story:
        node, text = (yield self.enters("node", BLINK_LINES)), (yield self.enters("t", TEXT_LINES))
        self.writes(node, "HEARTBEAT", content_type="text/x-msrp-heartbeat")
        yield self.assertTaken(node)
        yield self.assertNobodyHearsMore(text)

    @inlineCallbacks
    def test_java_names_itself_without_brackets_and_sends_small_chunks(self) -> Story:
        java = yield self.enters("java", BLINK_LINES)
        other = yield self.enters("other", BLINK_LINES)
        message = (
            f"From: sip:java@example.com\r\nTo: {ROOM}\r\n\r\n"
            "Content-Type: text/plain\r\n\r\n" + "0123456789" * 500
        )
        heard = ""
        for start in range(0, len(message), 2048):
            chunk = message[start : start + 2048]
            end = start + len(chunk)
            flag = "$" if end == len(message) else "+"
            byte_range = f"{start + 1}-{end}/{len(message)}"
            self.writes(java, chunk, byte_range=byte_range, flag=flag, transaction=f"c{start}")
            yield self.assertTaken(java, f"c{start}")
            copy = yield other.hears()
            self.assertEqual(copy[-3], flag)
            heard += self.body(copy)
        self.assertEqual(heard, message)

    @inlineCallbacks
    def test_java_reads_no_bare_lf(self) -> Story:
        """What the room itself wraps in CPIM has CRLF throughout."""
        java, text = (yield self.enters("java", BLINK_LINES)), (yield self.enters("t", TEXT_LINES))
        self.writes(text, "Hi", content_type="text/plain")
        yield self.assertTaken(text)
        body = self.body((yield java.hears()))
        self.assertNotIn("\n", body.replace("\r\n", ""))
        self.assertTrue(body.endswith("\r\n\r\nContent-Type: text/plain\r\n\r\nHi"), body)


class MiddleTests(ClientTestCase):
    """Relays, and boxes that stand between."""

    @inlineCallbacks
    def test_a_relay_names_several_uris(self) -> Story:
        """RFC 4976: the answer goes to the relay; what the room sends names the whole path."""
        relay = "msrp://relay.example.com:2855/relayed;tcp"
        own = "msrp://alice.example.com:7654/alice;tcp"
        alice = self.endpoint("alice", "sip:alice@example.com", f"{relay} {own}")
        yield self.join(alice)
        yield self.connect(alice, "")
        bob = yield self.enters("bob", TEXT_LINES)
        body = (
            f"From: <sip:alice@example.com>\r\nTo: <{ROOM}>\r\n\r\nContent-Type: text/plain\r\n\r\n"
        )
        self.writes(alice, f"{body}Hi", "Success-Report: yes")
        answer, report = (yield alice.hears()), (yield alice.hears())
        self.assertEqual(header(answer, "To-Path"), relay)
        self.assertEqual(header(report, "To-Path"), f"{relay} {own}")
        yield bob.hears()
        self.writes(bob, "Ho", content_type="text/plain")
        copy = yield alice.hears()
        self.assertEqual(header(copy, "To-Path"), f"{relay} {own}")

    @inlineCallbacks
    def test_a_middlebox_leaves_c_and_path_in_disagreement(self) -> Story:
        """RFC 6714, as NG9-1-1 and TS 24.247 have it, and boxes that do not know it."""
        for name, cema in (("one", "\n    a=msrp-cema"), ("two", "")):
            path = f"msrp://192.0.2.9:1234/{name}session;tcp"
            each = yield self.enters(name, BLINK_LINES + cema, path)
            self.assertIn("\r\na=msrp-cema\r\n", each.answer)


class RcsTests(ClientTestCase):
    """RCS clients, as GSMA's own."""

    def message(self, *headers: str, content: str = "Hi") -> str:
        return "\r\n".join(
            (
                "From: <sip:anonymous@anonymous.invalid>",
                "To: <sip:anonymous@anonymous.invalid>",
                "NS: imdn <urn:ietf:params:imdn>",
                *headers,
                "DateTime: 2026-11-23T09:00:00Z",
                "",
                "Content-Type: text/plain; charset=utf-8",
                "",
                content,
            )
        )

    @inlineCallbacks
    def test_a_message_to_the_group_and_its_notification(self) -> Story:
        alice, bob = (yield self.enters("alice", RCS_LINES)), (yield self.enters("bob", RCS_LINES))
        carol = yield self.enters("carol", RCS_LINES)
        wanted = ("imdn.Message-ID: Msg1", "imdn.Disposition-Notification: positive-delivery")
        said = self.message(*wanted)
        self.writes(alice, said)
        yield self.assertTaken(alice)
        named = said.replace("<sip:anonymous@anonymous.invalid>", "<sip:alice@example.com>", 1)
        for each in (bob, carol):
            self.assertEqual(self.body((yield each.hears())), named)
        document = (
            '<?xml version="1.0" encoding="UTF-8"?>\r\n'
            '<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>Msg1</message-id>'
            "<datetime>2026-11-23T09:00:00Z</datetime>"
            "<delivery-notification><status><delivered/></status></delivery-notification></imdn>"
        )
        notification = (
            "From: <sip:anonymous@anonymous.invalid>\r\n"
            "To: <sip:alice@example.com>\r\n"
            "NS: imdn <urn:ietf:params:imdn>\r\n"
            "imdn.Message-ID: Msg2\r\n"
            "\r\n"
            "Content-Type: message/imdn+xml\r\n"
            "Content-Disposition: notification\r\n"
            "\r\n" + document
        )
        self.writes(bob, notification)
        yield self.assertTaken(bob)
        heard = self.body((yield alice.hears()))
        self.assertTrue(heard.startswith("From: <sip:bob@example.com>\r\n"), heard)
        self.assertTrue(heard.endswith(document), heard)
        yield self.assertNobodyHearsMore(alice, bob, carol)

    @inlineCallbacks
    def test_a_group_with_a_subject_and_its_own_headers(self) -> Story:
        alice = self.endpoint(
            "alice", "sip:alice@example.com", "msrp://a.example.com:9/a;tcp", lines=RCS_LINES
        )
        ids = ("Contribution-ID: abc", "Conversation-ID: def", "Subject: Holidays")
        yield self.join(alice, ids)
        (room,) = self.service.registry.rooms.values()
        self.assertEqual(room.subject, "Holidays")
        yield self.connect(alice)

    @inlineCallbacks
    def test_coming_back_to_the_stored_focus(self) -> Story:
        """By INVITE to the Contact that the room gave."""
        alice, bob = (yield self.enters("alice", RCS_LINES)), (yield self.enters("bob", RCS_LINES))
        focus = header(alice.answer, "Contact").partition(">")[0].lstrip("<")
        alice.request("BYE", 2)
        yield alice.sip.next()
        alice.to_tag = ""
        yield alice.wire.closed
        again = self.endpoint(
            "alice", "sip:alice@example.com", "msrp://a.example.com:9/b;tcp", lines=RCS_LINES
        )
        again.call_id, again.target = "again", focus
        yield self.join(again)
        yield self.connect(again)
        self.assertEqual(len(self.service.registry.rooms), 1)
        self.writes(again, self.message("imdn.Message-ID: Msg3"))
        yield self.assertTaken(again)
        self.assertIn("sip:alice@example.com", (yield bob.hears()))
