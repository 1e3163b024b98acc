"""Offers of clients and what they are answered (RFC 3264, RFC 4975 §8, RFC 7701 §5.2)."""

from __future__ import annotations

from msrpconf.conference.capabilities import Reception
from msrpconf.protocols.multipart import Part, build_multipart
from msrpconf.protocols.sdp import SessionDescription
from msrpconf.protocols.sip.headers import MediaType, Warning_
from tests.conference.support import (
    Client,
    ControlTestCase,
    attributes,
    msrp_lines,
    sdp,
)

BLINK = """\
a=accept-types:message/cpim text/* image/* application/im-iscomposing+xml
a=accept-wrapped-types:text/* image/* application/im-iscomposing+xml
a=setup:active"""

RCS = """\
a=accept-types:message/cpim application/im-iscomposing+xml
a=accept-wrapped-types:text/plain message/imdn+xml application/vnd.gsma.rcs-ft-http+xml
a=setup:active"""

MSRP_NODE_LIB = """\
a=accept-types:text/plain text/x-msrp-heartbeat
a=setup:active"""


class ClientTests(ControlTestCase):
    """What deployed clients offer, and what they are answered."""

    def offers(self, lines: str) -> Client:
        client = self.client("alice")
        path = f"a=path:{client.path}"
        answer = client.invite(sdp("m=message 7654 TCP/MSRP *", path, *lines.split("\n")))
        self.assertEqual(answer.status, 200, answer.reason)
        return client

    def reception(self, client: Client) -> Reception:
        agreement = client.participant.agreement
        assert agreement is not None
        return agreement.reception

    def test_blink(self) -> None:
        alice = self.offers(BLINK)
        self.assertEqual(
            attributes(alice.line),
            {
                "accept-types": "message/cpim",
                "accept-wrapped-types": "*",
                "max-size": "1000000",
                "setup": "passive",
                "chatroom": "nickname private-messages",
                "msrp-cema": None,
            },
        )
        reception = self.reception(alice)
        self.assertTrue(reception.cpim)
        for media_type in ("text/plain", "image/png", "application/im-iscomposing+xml"):
            self.assertTrue(reception.takes(media_type), media_type)
        self.assertFalse(reception.takes("message/imdn+xml"))

    def test_rcs(self) -> None:
        alice = self.offers(RCS)
        self.assertEqual(alice.line.attribute("accept-types"), "message/cpim")
        reception = self.reception(alice)
        self.assertTrue(reception.takes("message/imdn+xml"))
        self.assertFalse(reception.takes("text/html"))

    def test_msrp_node_lib(self) -> None:
        alice = self.offers(MSRP_NODE_LIB)
        self.assertEqual(alice.line.attribute("accept-types"), "text/plain")
        self.assertIsNone(alice.line.attribute("accept-wrapped-types"))
        self.assertEqual(
            self.reception(alice), Reception(False, ("text/plain", "text/x-msrp-heartbeat"))
        )

    def test_text_switched_off(self) -> None:
        self.configure(plain_text=False)
        alice = self.client("alice", types="text/plain")
        answer = alice.invite()
        self.assertEqual(answer.status, 488)
        self.assertEqual(answer.reason, "a=accept-types needs message/cpim")
        self.assertEqual(
            Warning_.parse(answer.headers.get("Warning") or ""),
            Warning_(399, "s1", "a=accept-types needs message/cpim"),
        )
        self.offers(BLINK)

    def test_a_path_of_several_uris(self) -> None:
        """RFC 4975 §8.3: relays stand before the client, and every frame names them all."""
        alice = self.client("alice")
        alice.path = "msrp://relay.example.com:2855/abc;tcp msrp://alice.example.com:7654/xyz;tcp"
        alice.invite()
        self.assertEqual(alice.session.remote_path, alice.path.encode())


class RefusedTests(ControlTestCase):
    def assertRefused(self, body: bytes, text: str) -> None:
        answer = self.client("alice").invite(body)
        self.assertEqual(answer.status, 488)
        self.assertIn(text, answer.reason)
        self.assertIn(text, Warning_.parse(answer.headers.get("Warning") or "").text)
        self.assertNobodyIsLeft()

    def test_nothing_but_other_media(self) -> None:
        self.assertRefused(
            sdp("m=audio 4000 RTP/AVP 0"), "No m=message line with TCP/MSRP: this is a chat room"
        )
        self.assertRefused(sdp("m=message 0 TCP/MSRP *"), "No m=message line")
        self.assertRefused(sdp(), "No m=message line")

    def test_tls_alone(self) -> None:
        path = "msrps://alice.example.com:7654/jshA7weztas;tcp"
        self.assertRefused(
            sdp(*msrp_lines(protocol="TCP/TLS/MSRP", path=path)), "TCP/TLS/MSRP is not served here"
        )

    def test_no_type_that_a_room_could_send(self) -> None:
        self.assertRefused(sdp(*msrp_lines(types="image/png")), "needs message/cpim or text/plain")

    def test_a_description_that_cannot_be_read(self) -> None:
        self.assertRefused(b"hello", "SDP line 1 must be 'letter=value'")
        self.assertRefused(sdp("m=message 7654 TCP/MSRP *"), "must have a=accept-types")
        self.assertRefused(
            sdp("m=message 7654 TCP/MSRP *", "a=accept-types:*", "a=path:http://a/b"), "a=path"
        )

    def test_a_multipart_body_that_cannot_be_read(self) -> None:
        answer = self.client("alice").invite(b"--x", content_type="multipart/mixed")
        self.assertEqual(answer.status, 488)
        self.assertIn("boundary", answer.reason)


class SeveralMediaTests(ControlTestCase):
    def test_other_media_are_refused_in_their_place(self) -> None:
        alice = self.client("alice")
        alice.invite(
            sdp(
                "m=audio 4000 RTP/AVP 0 8",
                "a=rtpmap:0 PCMU/8000",
                *msrp_lines(path=alice.path),
                "m=video 4002 RTP/AVP 31",
            )
        )
        self.assertEqual(
            [(each.media, each.port, each.formats) for each in alice.described.media],
            [("audio", 0, ("0", "8")), ("message", 8888, ("*",)), ("video", 0, ("31",))],
        )

    def test_the_first_line_that_can_be_served_is_taken(self) -> None:
        alice = self.client("alice")
        tls = "msrps://alice.example.com:7655/tls;tcp"
        alice.invite(
            sdp(
                *msrp_lines(protocol="TCP/TLS/MSRP", path=tls),
                *msrp_lines(types="image/png", path="msrp://alice.example.com:7656/img;tcp"),
                *msrp_lines(path=alice.path),
                *msrp_lines(path="msrp://alice.example.com:7657/second;tcp"),
            )
        )
        self.assertEqual(
            [bool(each.port) for each in alice.described.media], [False, False, True, False]
        )
        self.assertEqual(alice.described.media[0].protocol, "TCP/TLS/MSRP")
        self.assertEqual(alice.session.remote_path, alice.path.encode())

    def test_a_later_offer_of_ours_keeps_the_lines(self) -> None:
        """RFC 3264 §8: each line of an earlier description has its match in every later one."""
        alice = self.joined("alice")
        lines = ("m=audio 4000 RTP/AVP 0", *msrp_lines(path=alice.path), "m=video 4002 RTP/AVP 31")
        alice.invite(sdp(*lines))
        alice.send("ACK")
        alice.invite(b"")
        self.assertEqual(
            [(each.media, each.port) for each in alice.described.media],
            [("audio", 0), ("message", 8888), ("video", 0)],
        )
        self.assertEqual(alice.line.attribute("setup"), "actpass")
        answer = sdp("m=audio 0 RTP/AVP 0", *msrp_lines(path=alice.path), "m=video 0 RTP/AVP 31")
        alice.send("ACK", answer)
        self.assertEqual(self.channel.sent, [])
        self.assertIsNotNone(alice.session.connection)


class BodyTests(ControlTestCase):
    """The description may be a part of a body of several (RFC 5621)."""

    LIST = Part(
        MediaType("application", "resource-lists+xml"),
        b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>',
        (("Content-Disposition", "recipient-list"),),
    )

    def invites(self, *parts: Part, subtype: str = "mixed") -> Client:
        content_type, body = build_multipart(parts, subtype=subtype)
        client = self.client("alice")
        self.assertEqual(client.invite(body, content_type=str(content_type)).status, 200)
        return client

    def test_beside_a_list_of_others(self) -> None:
        offer = Part(MediaType("application", "sdp"), self.client("alice").offer())
        for subtype in ("mixed", "alternative"):
            alice = self.invites(self.LIST, offer, subtype=subtype)
            self.assertEqual(alice.session.remote_path, alice.path.encode())
            alice.send("BYE")

    def test_one_for_another_session_is_not_ours(self) -> None:
        early = Part(
            MediaType("application", "sdp"),
            sdp(*msrp_lines(path="msrp://early.example.com:1/x;tcp")),
            (("Content-Disposition", "early-session"),),
        )
        offer = Part(
            MediaType("application", "sdp"),
            self.client("alice").offer(),
            (("Content-Disposition", "session;handling=required"),),
        )
        alice = self.invites(early, offer)
        self.assertEqual(alice.session.remote_path, alice.path.encode())

    def test_a_body_of_another_type_makes_no_offer(self) -> None:
        """What it is for is not known here, and the focus let it pass as optional."""
        alice = self.client("alice")
        alice.invite(b"<x/>", content_type="application/xml")
        self.assertEqual(alice.line.attribute("setup"), "actpass")

    def test_a_body_without_a_description_makes_no_offer(self) -> None:
        alice = self.invites(self.LIST)
        self.assertEqual(alice.line.attribute("setup"), "actpass")


class OriginTests(ControlTestCase):
    """The version of our descriptions grows when they change, and not else (RFC 4975 §8.4)."""

    def test_versions(self) -> None:
        alice = self.joined("alice")
        first = alice.described.origin
        for _ in range(2):
            alice.invite()
            alice.send("ACK")
            self.assertEqual(alice.described.origin, first)
        alice.invite(alice.offer("sendonly"))
        held = alice.described.origin
        self.assertEqual(held.session_id, first.session_id)
        self.assertEqual(int(held.session_version), int(first.session_version) + 1)
        alice.send("ACK")
        answer = alice.send("UPDATE", alice.offer())
        again = SessionDescription.parse(answer.body).origin
        self.assertEqual(int(again.session_version), int(first.session_version) + 2)

    def test_sessions_have_their_own(self) -> None:
        ids = {self.joined(name).described.origin.session_id for name in ("alice", "bob", "carol")}
        self.assertEqual(len(ids), 3)

    def test_addresses(self) -> None:
        for host, kind, uri in (
            ("192.0.2.1", "IP4", "192.0.2.1"),
            ("2001:db8::1", "IP6", "[2001:db8::1]"),
            ("chat.example.com", "IP4", "chat.example.com"),
        ):
            self.configure(msrp_host=host)
            alice = self.client("alice")
            alice.invite()
            self.assertEqual(str(alice.described.connection), f"IN {kind} {host}")
            path = alice.line.attribute("path") or ""
            self.assertTrue(path.startswith(f"msrp://{uri}:8888/"), path)
            alice.send("BYE")
