from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.multipart import (
    MAX_DEPTH,
    MAX_PART_HEADERS,
    MAX_PARTS,
    MultipartError,
    Part,
    build_multipart,
    find_by_content_id,
    parse_multipart,
)
from msrpconf.protocols.sip.headers import MediaType

TEXT = MediaType("text", "plain")
SDP = MediaType("application", "sdp")
LISTS = MediaType("application", "resource-lists+xml")
MIXED = MediaType.parse('multipart/mixed;boundary="b"')


def body(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


class ParseTests(SynchronousTestCase):
    def refused(self, data: bytes, reason: str, content_type: MediaType = MIXED) -> None:
        error = self.assertRaises(MultipartError, parse_multipart, data, content_type)
        self.assertIn(reason, str(error))

    def test_invite_that_creates_a_group(self) -> None:
        # RFC 5366 §7.
        parts = parse_multipart(
            body(
                "--boundary1",
                "Content-Type: application/sdp",
                "",
                "v=0",
                "o=alice 2890844526 2890842807 IN IP4 atlanta.example.com",
                "",
                "--boundary1",
                "Content-Type: application/resource-lists+xml",
                "Content-Disposition: Recipient-List; handling=optional",
                "Content-ID: <lists@example.com>",
                "",
                "<resource-lists/>",
                "--boundary1--",
            ),
            MediaType.parse('multipart/mixed;boundary="boundary1"'),
        )
        description, recipients = parts
        self.assertEqual(description.content_type, SDP)
        self.assertEqual(
            description.body,
            b"v=0\r\no=alice 2890844526 2890842807 IN IP4 atlanta.example.com\r\n",
        )
        self.assertIsNone(description.disposition)
        self.assertTrue(description.required)
        self.assertEqual(recipients.content_type, LISTS)
        self.assertEqual(recipients.disposition, "recipient-list")
        self.assertFalse(recipients.required)
        self.assertEqual(recipients.content_id, "lists@example.com")
        self.assertEqual(recipients.header("content-id"), "<lists@example.com>")
        self.assertEqual(recipients.body, b"<resource-lists/>")

    def test_example_of_rfc_2046(self) -> None:
        parts = parse_multipart(
            body(
                "This is the preamble.  It is to be ignored.",
                "--simple boundary-- not it, nor this:",
                " --simple boundary",
                "--simple boundary",
                "",
                "This is implicitly typed plain US-ASCII text.",
                "It does NOT end with a linebreak.",
                "--simple boundary \t",
                "Content-type: text/plain; charset=us-ascii",
                "",
                "This is explicitly typed plain US-ASCII text.",
                "It DOES end with a linebreak.",
                "",
                "--simple boundary--",
                "This is the epilogue.  It is also to be ignored.",
                "--simple boundary",
            ),
            MediaType.parse('multipart/mixed; boundary="simple boundary"'),
        )
        self.assertEqual(
            parts,
            [
                Part(
                    TEXT,
                    b"This is implicitly typed plain US-ASCII text.\r\n"
                    b"It does NOT end with a linebreak.",
                ),
                Part(
                    MediaType("text", "plain", (("charset", "us-ascii"),)),
                    b"This is explicitly typed plain US-ASCII text.\r\n"
                    b"It DOES end with a linebreak.\r\n",
                ),
            ],
        )

    def test_bare_lf_and_no_end_of_the_last_line(self) -> None:
        data = b"--b\nContent-Type: application/sdp\n\nv=0\n\n--b--"
        self.assertEqual(parse_multipart(data, MIXED), [Part(SDP, b"v=0\n")])

    def test_empty_parts(self) -> None:
        data = body("--b", "--b", "", "--b", "", "", "--b", "Content-ID: <x>", "--b--")
        self.assertEqual(
            parse_multipart(data, MIXED),
            [
                Part(TEXT, b""),
                Part(TEXT, b""),
                Part(TEXT, b""),
                Part(TEXT, b"", (("Content-ID", "<x>"),)),
            ],
        )

    def test_longer_boundary_is_another_one(self) -> None:
        data = body("--b", "", "--bb", "--b-- x", "--b--")
        self.assertEqual(parse_multipart(data, MIXED), [Part(TEXT, b"--bb\r\n--b-- x")])

    def test_boundary_with_characters_of_patterns(self) -> None:
        boundary = "----=_Part.1(+)?"
        data = body(f"--{boundary}", "", "x", f"--{boundary}--")
        content_type = MediaType("multipart", "mixed", (("boundary", boundary),))
        self.assertEqual(parse_multipart(data, content_type), [Part(TEXT, b"x")])

    def test_inner_multiparts_are_flattened(self) -> None:
        data = body(
            "--b",
            "",
            "before",
            "--b",
            "Content-Type: multipart/alternative; boundary=b2",
            "",
            "--b2",
            "Content-Type: application/sdp",
            "",
            "v=0",
            "--b2",
            "Content-Type: application/x-newer",
            "",
            "v=1",
            "--b2--",
            "--b",
            "",
            "after",
            "--b--",
        )
        self.assertEqual(
            [part.body for part in parse_multipart(data, MIXED)],
            [b"before", b"v=0", b"v=1", b"after"],
        )

    def test_folded_header_and_header_not_in_utf8(self) -> None:
        data = b"--b\r\nContent-Disposition: render;\r\n filename=\xe9\r\n\r\n\r\n--b--"
        (part,) = parse_multipart(data, MIXED)
        self.assertEqual(part.header("Content-Disposition"), "render; filename=\ufffd")
        self.assertTrue(part.required)

    def test_disposition_that_cannot_be_read_is_required(self) -> None:
        part = Part(TEXT, b"", (("Content-Disposition", "; handling=optional"),))
        self.assertTrue(part.required)

    def test_transfer_encodings(self) -> None:
        for encoding, encoded in (
            ("binary", "h\u00e9"),
            ("8BIT", "h\u00e9"),
            ("base64", "aM\r\nOp"),
            ("Quoted-Printable", "h=C3=\r\n=A9"),
        ):
            data = body("--b", f"Content-Transfer-Encoding: {encoding}", "", encoded, "--b--")
            self.assertEqual(parse_multipart(data, MIXED), [Part(TEXT, "hé".encode())])

    def test_malformed(self) -> None:
        for data, reason in (
            (b"", "must end with the line '--b--'"),
            (b"hello", "must end with"),
            (body("--b", "", "x"), "must end with"),
            (body("--b", "", "x", "--b-"), "must end with"),
            (body("--b", "no header", "", "--b--"), "Name: value"),
            (body("--b", " x: y", "", "--b--"), "Name: value"),
            (body("--b", "x y: z", "", "--b--"), "Name: value"),
            (body("--b", "x: y\0z", "", "--b--"), "control character"),
            (body("--b", "x: y\rz: y", "", "--b--"), "control character"),
            (body("--b", "Content-Type: nonsense", "", "--b--"), "Content-Type"),
            (
                body("--b", "Content-Type: a/b", "content-type: a/b", "", "--b--"),
                "two Content-Type",
            ),
            (body("--b", "Content-Type: multipart/mixed", "", "x", "--b--"), "boundary parameter"),
            (body("--b", "Content-Transfer-Encoding: base64", "", "a", "--b--"), "base64"),
            (body("--b", "Content-Transfer-Encoding: gzip", "", "a", "--b--"), "unknown"),
        ):
            with self.subTest(data=data):
                self.refused(data, reason)

    def test_boundary_is_needed(self) -> None:
        for parameters in (
            (),
            (("boundary", None),),
            (("boundary", "x" * 71),),
            (("boundary", "x "),),
            (("boundary", "é"),),
            (("boundary", "x\r\ny"),),
        ):
            self.refused(b"----", "boundary parameter", MediaType("multipart", "mixed", parameters))

    def test_parts_are_bounded(self) -> None:
        data = body("--b") * MAX_PARTS + body("--b--")
        self.assertEqual(len(parse_multipart(data, MIXED)), MAX_PARTS)
        self.refused(body("--b") + data, "more than 64 parts")

    def test_parts_of_all_levels_are_bounded(self) -> None:
        inner = body("--b", "Content-Type: multipart/mixed;boundary=c", "")
        inner += body("--c") * MAX_PARTS + body("--c--", "--b--")
        self.refused(inner, "more than 64 parts")

    def test_depth_is_bounded(self) -> None:
        def nested(depth: int) -> bytes:
            data = b"x"
            for level in reversed(range(1, depth + 1)):
                boundary = "b" * level
                kind = f"Content-Type: multipart/mixed;boundary={boundary}b"
                data = body(f"--{boundary}", kind if level < depth else "X: y", "") + data
                data += b"\r\n" + body(f"--{boundary}--")
            return data

        self.assertEqual(
            parse_multipart(nested(MAX_DEPTH), MIXED), [Part(TEXT, b"x", (("X", "y"),))]
        )
        self.refused(nested(MAX_DEPTH + 1), "no more than 3")

    def test_headers_are_bounded(self) -> None:
        fits = "X: " + "x" * (MAX_PART_HEADERS - 5)
        (part,) = parse_multipart(body("--b", fits, "", "y" * 9000, "--b--"), MIXED)
        self.assertEqual((len(part.headers[0][1]), len(part.body)), (MAX_PART_HEADERS - 5, 9000))
        self.refused(body("--b", fits + "x", "", "y", "--b--"), "4096 octets")
        self.refused(body("--b", fits + "x" * 3, "--b--"), "4096 octets")

    @given(
        st.binary(max_size=60)
        | st.lists(
            st.sampled_from(
                (
                    b"--b",
                    b"--b--",
                    b"\r\n",
                    b"\n",
                    b"Content-Type: multipart/mixed;boundary=c\r\n",
                    b"--c",
                    b"Content-Transfer-Encoding: base64\n",
                    b"Content-Disposition: x; handling",
                    b"\r",
                    b"\xff",
                    b" ",
                    b"--",
                )
            ),
            max_size=40,
        ).map(b"".join)
    )
    @settings(deadline=None, max_examples=200)
    def test_any_bytes_give_parts_or_the_error(self, data: bytes) -> None:
        try:
            parts = parse_multipart(data, MIXED)
        except MultipartError:
            return
        for part in parts:
            self.assertIn(part.required, (True, False))


class ContentIdTests(SynchronousTestCase):
    """RFC 2392 §2."""

    def test_references(self) -> None:
        first = Part(TEXT, b"", (("Content-ID", "<other@example.com>"),))
        part = Part(TEXT, b"", (("Content-ID", "<foo4%25foo1@bar.net>"),))
        parts = [Part(TEXT, b""), first, part]
        for reference in (
            "cid:foo4%2525foo1@bar.net",
            "CID:foo4%2525foo1%40bar.net",
            "<foo4%25foo1@bar.net>",
            "foo4%25foo1@bar.net",
        ):
            self.assertIs(find_by_content_id(parts, reference), part)
        self.assertIsNone(find_by_content_id(parts, "cid:nobody@bar.net"))


names = st.from_regex(r"X-[A-Za-z0-9]{1,8}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12).map(str.strip)
types = st.sampled_from((TEXT, SDP, LISTS, MediaType("text", "html", (("charset", "utf-8"),))))
some_parts = st.builds(
    Part, types, st.binary(max_size=40), st.lists(st.tuples(names, values), max_size=3).map(tuple)
)


class BuildTests(SynchronousTestCase):
    def test_body(self) -> None:
        content_type, data = build_multipart(
            [
                Part(SDP, b"v=0\r\n"),
                Part(LISTS, b"<x/>", (("Content-Disposition", "recipient-list"),)),
            ],
            boundary="boundary1",
        )
        self.assertEqual(str(content_type), "multipart/mixed;boundary=boundary1")
        self.assertEqual(
            data,
            body(
                "--boundary1",
                "Content-Type: application/sdp",
                "",
                "v=0",
                "",
                "--boundary1",
                "Content-Type: application/resource-lists+xml",
                "Content-Disposition: recipient-list",
                "",
                "<x/>",
                "--boundary1--",
            ),
        )

    def test_boundary_that_stands_in_a_part(self) -> None:
        part = Part(TEXT, b"\r\n--b--\r\n")
        self.assertRaises(MultipartError, build_multipart, [part], boundary="b")
        content_type, data = build_multipart([part], subtype="related")
        self.assertEqual(content_type.subtype, "related")
        self.assertEqual(parse_multipart(data, content_type), [part])

    def test_what_cannot_be_written_is_refused(self) -> None:
        for boundary in ("", "x" * 71, "x ", "é", "a\r\nb"):
            self.assertRaises(MultipartError, build_multipart, [], boundary=boundary)
        for header in (
            ("X", "y\r\nz: a"),
            ("X Y", "z"),
            ("content-type", "a/b"),
            ("Content-Transfer-Encoding", "base64"),
        ):
            self.assertRaises(MultipartError, build_multipart, [Part(TEXT, b"", (header,))])

    @given(st.lists(some_parts, max_size=4))
    @settings(deadline=None)
    def test_round_trip(self, parts: list[Part]) -> None:
        content_type, data = build_multipart(parts)
        self.assertEqual(parse_multipart(data, MediaType.parse(str(content_type))), parts)
