from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import Connection, MediaDescription, SdpError, SessionDescription
from msrpconf.protocols.sdp_msrp import (
    MAX_PATH,
    MAX_TYPES,
    MsrpMedia,
    msrp_media,
    msrp_media_line,
    read_msrp_media,
)

HEAD = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0")
PATH = "a=path:msrp://192.0.2.1:7654/jshA7we;tcp"
TYPES = "a=accept-types:message/cpim"


def description(*lines: str) -> SessionDescription:
    return SessionDescription.parse("".join(f"{line}\r\n" for line in lines).encode())


def offered(*lines: str) -> SessionDescription:
    return description(*HEAD, *lines)


def one(*lines: str) -> MsrpMedia:
    (media,) = msrp_media(offered(*lines))
    return media


class ClientsTests(SynchronousTestCase):
    """Offers as the clients and the standards in the field make them."""

    def test_rfc_4975(self) -> None:
        (media,) = msrp_media(
            description(
                "v=0",
                "o=usera 2890844526 2890844527 IN IP4 alice.example.com",
                "s= -",
                "c=IN IP4 alice.example.com",
                "t=0 0",
                "m=message 7394 TCP/MSRP *",
                "a=accept-types:message/cpim text/plain text/html",
                "a=path:msrp://alice.example.com:7394/2s93i93idj;tcp",
            )
        )
        self.assertEqual(
            media,
            MsrpMedia(
                index=0,
                protocol="TCP/MSRP",
                port=7394,
                path=("msrp://alice.example.com:7394/2s93i93idj;tcp",),
                accept_types=("message/cpim", "text/plain", "text/html"),
                connection=Connection("IN", "IP4", "alice.example.com"),
            ),
        )
        self.assertEqual(media.answering_setup, "passive")

    def test_rfc_7701(self) -> None:
        (media,) = msrp_media(
            description(
                "v=0",
                "o=alice 2890844526 2890844526 IN IP4 client.atlanta.example.com",
                "s=-",
                "c=IN IP4 client.atlanta.example.com",
                "m=message 7654 TCP/MSRP *",
                "a=accept-types:message/cpim text/plain text/html",
                "a=path:msrp://client.atlanta.example.com:7654/jshA7weztas;tcp",
                "a=chatroom:nickname private-messages",
            )
        )
        self.assertEqual(media.chatroom, ("nickname", "private-messages"))

    def test_sip_session(self) -> None:
        media = one(
            "m=message 2855 TCP/MSRP *",
            "a=path:msrp://192.0.2.1:2855/5f0c2a9de6f9c1b7a8d3;tcp",
            "a=accept-types:message/cpim text/* image/* application/im-iscomposing+xml",
            "a=accept-wrapped-types:text/* image/* application/im-iscomposing+xml",
            "a=setup:active",
            "a=chatroom:nickname private-messages com.ag-projects.screen-sharing",
        )
        self.assertEqual(media.setup, "active")
        self.assertEqual(media.answering_setup, "passive")
        self.assertTrue(media.accepts("message/cpim"))
        self.assertTrue(media.accepts_wrapped("image/png"))
        self.assertFalse(media.accepts_wrapped("message/imdn+xml"))
        self.assertEqual(len(media.chatroom or ()), 3)

    def test_blink_over_tls_through_a_relay(self) -> None:
        media = one(
            "m=message 2855 TCP/TLS/MSRP *",
            "a=path:msrps://relay.example.com:2855/aW5pdGlhbA==;tcp "
            "msrps://192.0.2.1:50123/5f0c2a9de6f9;tcp",
            "a=accept-types:message/cpim",
            "a=accept-wrapped-types:*",
            "a=setup:actpass",
        )
        self.assertTrue(media.secure)
        self.assertEqual(
            media.path,
            (
                "msrps://relay.example.com:2855/aW5pdGlhbA==;tcp",
                "msrps://192.0.2.1:50123/5f0c2a9de6f9;tcp",
            ),
        )
        self.assertEqual(media.answering_setup, "passive")
        self.assertIsNone(media.chatroom)
        self.assertTrue(media.accepts_wrapped("application/x-anything"))
        self.assertFalse(media.accepts("text/plain"))

    def test_boghe(self) -> None:
        media = one(
            "m=message 1958 TCP/MSRP *",
            "c=IN IP4 192.0.2.1",
            "a=path:msrp://192.0.2.1:1958/77251085;tcp",
            "a=connection:new",
            "a=setup:actpass",
            "a=accept-types:text/plain message/CPIM",
            "a=accept-wrapped-types:text/plain image/jpeg image/gif image/bmp image/png",
            "a=sendrecv",
        )
        self.assertTrue(media.accepts("message/cpim"))
        self.assertEqual(media.setup, "actpass")
        self.assertEqual(media.direction, "sendrecv")

    def test_rcs_client_with_file_transfer(self) -> None:
        media = one(
            "m=message 9 TCP/MSRP *",
            "i=This is my latest picture",
            "a=sendonly",
            "a=setup:active",
            "a=accept-types:message/cpim application/im-iscomposing+xml",
            "a=accept-wrapped-types:text/plain message/imdn+xml "
            "application/vnd.gsma.rcs-ft-http+xml",
            "a=path:msrp://192.0.2.1:9/1761234567890;tcp",
            'a=file-selector:name:"My cool picture.jpg" type:image/jpeg size:4092',
            "a=file-transfer-id:Q6LMoGymJdh0IKIgD6wD0jkcfgva4xvE",
            "a=file-disposition:render",
            "a=max-size:1048576",
            "a=msrp-cema",
        )
        self.assertEqual(media.port, 9)
        self.assertEqual((media.direction, media.answering_direction), ("sendonly", "recvonly"))
        self.assertEqual(media.max_size, 1048576)
        self.assertTrue(media.cema)

    def test_middlebox_that_rewrote_only_the_connection(self) -> None:
        media = one(
            "m=message 40002 TCP/MSRP *",
            "c=IN IP4 203.0.113.7",
            TYPES,
            PATH,
        )
        self.assertEqual(media.connection, Connection("IN", "IP4", "203.0.113.7"))
        self.assertEqual((media.port, media.path), (40002, (PATH.removeprefix("a=path:"),)))


class MsrpMediaTests(SynchronousTestCase):
    def test_lines_that_are_not_msrp_or_refused_are_passed_over(self) -> None:
        media = msrp_media(
            offered(
                "m=audio 49170 RTP/AVP 0",
                "m=message 0 TCP/MSRP *",
                "m=message 7654 TCP/MSRP *",
                TYPES,
                PATH,
                "m=message 7654 UDP/X *",
                "m=application 7654 TCP/MSRP *",
                "m=message 7654 tcp/tls/msrp *",
                TYPES,
                PATH.replace("msrp:", "msrps:"),
            )
        )
        self.assertEqual([one.index for one in media], [2, 5])
        self.assertEqual(msrp_media(offered("m=audio 49170 RTP/AVP 0")), ())

    def test_fingerprints_are_for_tls(self) -> None:
        wrong = "a=fingerprint:md5 AB"
        self.assertEqual(one("m=message 7654 TCP/MSRP *", TYPES, PATH, wrong).fingerprints, ())
        secure = PATH.replace("msrp:", "msrps:")
        tls = offered("m=message 7654 TCP/TLS/MSRP *", TYPES, secure, wrong)
        self.assertRaises(SdpError, msrp_media, tls)
        right = Fingerprint.of(b"x")
        media = one("m=message 7654 TCP/TLS/MSRP *", TYPES, secure, f"a=fingerprint:{right}")
        self.assertEqual(media.fingerprints, (right,))

    def test_one_that_cannot_be_read_does_not_spoil_the_others(self) -> None:
        bad = ("m=message 7654 TCP/MSRP *", TYPES, "a=path:http://x")
        good = ("m=message 7654 TCP/MSRP *", TYPES, PATH)
        (media,) = msrp_media(offered(*bad, *good))
        self.assertEqual(media.index, 1)
        error = self.assertRaises(SdpError, msrp_media, offered(*bad, *bad))
        self.assertIn("msrp://", str(error))

    def test_malformed(self) -> None:
        msrp = "m=message 7654 TCP/MSRP *"
        for lines, reason in (
            (("m=audio 1 RTP/AVP 0",), "is not MSRP"),
            (("m=message 1 RTP/AVP 0",), "is not MSRP"),
            ((msrp, PATH), "must have a=accept-types"),
            ((msrp, TYPES), "must have a=path"),
            ((msrp, TYPES, "a=path"), "must have a=path"),
            ((msrp, TYPES, "a=path:msrp://a:1/b"), "wrong a=path"),
            ((msrp, TYPES, PATH + " msrp://a:1/é;tcp"), "wrong a=path"),
            ((msrp, TYPES, PATH + " msrp://a:1/b;tcp" * MAX_PATH), "more than 10 URIs"),
            (
                (msrp, PATH, "a=accept-types:" + " a/b" * (MAX_TYPES + 1)),
                "more than 256 types",
            ),
        ):
            with self.subTest(lines=lines):
                error = self.assertRaises(SdpError, read_msrp_media, offered(*lines), 0)
                self.assertIn(reason, str(error))

    def test_errors_can_stand_in_a_header(self) -> None:
        # They become the reason and the Warning of a 488.
        for lines in (
            ("m=aud\x1bio\u2028 1 RTP/é 0",),
            ("m=message 7 TCP/M\u017fRP *", TYPES, PATH),
            ("m=message 7 TCP/MSRP *", PATH),
            ("m=message 7 TCP/MSRP *", TYPES, "a=path:msrp://é"),
        ):
            error = self.assertRaises(SdpError, read_msrp_media, offered(*lines), 0)
            self.assertTrue(str(error).isascii() and str(error).isprintable(), str(error))

    def test_lists_of_types(self) -> None:
        media = one(
            "m=message 7654 TCP/MSRP *",
            'a=accept-types: Message/CPIM text/plain;charset="utf 8" text/html;a="b\\" text/plain',
            "a=accept-wrapped-types:Text/*  text/*",
            PATH,
        )
        self.assertEqual(media.accept_types, ("message/cpim", "text/plain", "text/html"))
        self.assertEqual(media.accept_wrapped_types, ("text/*",))

    def test_types_that_match(self) -> None:
        line = "m=message 7654 TCP/MSRP *"
        media = one(line, PATH, "a=accept-types:message/cpim text/plain")
        self.assertTrue(media.accepts_wrapped("text/plain"))
        self.assertFalse(media.accepts_wrapped("text/html"))
        media = one(line, PATH, "a=accept-types:*")
        self.assertTrue(media.accepts("text/html"))
        self.assertTrue(media.accepts_wrapped("text/html"))

    def test_setup(self) -> None:
        for attribute, setup, answering in (
            ("a=setup:passive", "passive", "active"),
            ("a=setup:ACTPASS ", "actpass", "passive"),
            ("a=setup:holdconn", "holdconn", "passive"),
            ("a=setup:sideways", None, "passive"),
            ("a=setup", None, "passive"),
        ):
            media = one("m=message 7654 TCP/MSRP *", TYPES, PATH, attribute)
            self.assertEqual((media.setup, media.answering_setup), (setup, answering))

    def test_session_level_setup_and_direction_are_the_defaults(self) -> None:
        lines = ("a=setup:passive", "a=inactive", "m=message 7654 TCP/MSRP *", TYPES, PATH)
        media = one(*lines)
        self.assertEqual((media.setup, media.direction), ("passive", "inactive"))
        media = one(*lines, "a=setup:active", "a=recvonly")
        self.assertEqual((media.setup, media.direction), ("active", "recvonly"))
        self.assertEqual(media.answering_direction, "sendonly")

    def test_max_size_is_a_hint(self) -> None:
        for value in ("", ":", ":x", ":-1", ":" + "9" * 5000):
            media = one("m=message 7654 TCP/MSRP *", TYPES, PATH, f"a=max-size{value}")
            self.assertIsNone(media.max_size)

    def test_chatroom_without_tokens(self) -> None:
        self.assertEqual(one("m=message 1 TCP/MSRP *", TYPES, PATH, "a=chatroom").chatroom, ())
        self.assertIsNone(one("m=message 1 TCP/MSRP *", TYPES, PATH).chatroom)


class MediaLineTests(SynchronousTestCase):
    def test_answer_of_a_room(self) -> None:
        line = msrp_media_line(
            [MsrpURI("msrp", "chat.example.com", 12763, "kjhd37s2s20w2a")],
            accept_types=["message/cpim"],
            accept_wrapped_types=["text/plain", "*"],
            setup="passive",
            max_size=10000,
            chatroom=["nickname", "private-messages"],
            direction="recvonly",
        )
        self.assertEqual(
            list(line.lines()),
            [
                ("m", "message 12763 TCP/MSRP *"),
                ("a", "path:msrp://chat.example.com:12763/kjhd37s2s20w2a;tcp"),
                ("a", "accept-types:message/cpim"),
                ("a", "accept-wrapped-types:text/plain *"),
                ("a", "max-size:10000"),
                ("a", "setup:passive"),
                ("a", "chatroom:nickname private-messages"),
                ("a", "recvonly"),
            ],
        )

    def test_client_behind_a_relay_that_connects(self) -> None:
        line = msrp_media_line(
            [MsrpURI("msrps", "relay", 1, "r"), MsrpURI("msrps", "192.0.2.1", None, "s")],
            accept_types=["text/plain"],
            setup="active",
            chatroom=[],
            port=9,
        )
        self.assertEqual(
            line,
            MediaDescription(
                "message",
                9,
                "TCP/TLS/MSRP",
                ("*",),
                (
                    ("path", "msrps://relay:1/r;tcp msrps://192.0.2.1/s;tcp"),
                    ("accept-types", "text/plain"),
                    ("setup", "active"),
                    ("chatroom", None),
                ),
            ),
        )

    def test_what_is_built_is_read_back(self) -> None:
        line = msrp_media_line(
            [MsrpURI("msrp", "[::1]", 2855, "x")], accept_types=["*"], setup="passive", chatroom=()
        )
        media = read_msrp_media(offered(*("=".join(pair) for pair in line.lines())), 0)
        self.assertEqual(media.path, ("msrp://[::1]:2855/x;tcp",))
        self.assertEqual((media.port, media.setup, media.chatroom), (2855, "passive", ()))
