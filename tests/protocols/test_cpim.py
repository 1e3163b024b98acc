from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.cpim import (
    IMDN_NAMESPACE,
    MAX_HEAD,
    CpimAddress,
    CpimError,
    CpimHead,
    build_cpim_head,
    parse_cpim_head,
)

# RFC 3862 §5.1, with the line ends of the wire.
RFC_EXAMPLE = b"\r\n".join(
    (
        b"From: MR SANDERS <im:piglet@100akerwood.com>",
        b"To: Depressed Donkey <im:eeyore@100akerwood.com>",
        b"DateTime: 2000-12-13T13:40:00-08:00",
        b"Subject: the weather will be fine today",
        b"Subject:;lang=fr beau temps prevu pour aujourd'hui",
        b"NS: MyFeatures <mid:MessageFeatures@id.foo.com>",
        b"Require: MyFeatures.VitalMessageOption",
        b"MyFeatures.VitalMessageOption: Confirmation-requested",
        b"MyFeatures.WackyMessageOption: Use-silly-font",
        b"",
        b"Content-type: text/xml; charset=utf-8",
        b"Content-ID: <1234567890@foo.com>",
        b"",
        b"<body>",
        b"Here is the text of my message.",
        b"</body>",
    )
)


def parsed(data: bytes) -> CpimHead:
    head = parse_cpim_head(data)
    assert head is not None, "the head should be complete"
    return head


def with_headers(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "Content-Type: text/plain", "", "Hello")).encode()


class ParseTests(SynchronousTestCase):
    def refused(self, data: bytes, reason: str, status: int = 400) -> None:
        error = self.assertRaises(CpimError, parse_cpim_head, data)
        self.assertIn(reason, str(error))
        self.assertEqual(error.status, status)

    def test_rfc_example(self) -> None:
        head = parsed(RFC_EXAMPLE)
        self.assertEqual(head.from_, CpimAddress("im:piglet@100akerwood.com", "MR SANDERS"))
        self.assertEqual(head.to, (CpimAddress("im:eeyore@100akerwood.com", "Depressed Donkey"),))
        self.assertEqual(head.cc, ())
        self.assertEqual(head.date_time, "2000-12-13T13:40:00-08:00")
        self.assertEqual(
            head.subjects,
            (
                (None, "the weather will be fine today"),
                ("fr", "beau temps prevu pour aujourd'hui"),
            ),
        )
        self.assertEqual(head.subject, "the weather will be fine today")
        self.assertEqual(
            head.get_all("WackyMessageOption", "mid:MessageFeatures@id.foo.com"),
            ["Use-silly-font"],
        )
        self.assertEqual(head.get_all("WackyMessageOption"), [])
        self.assertEqual(head.headers[6], ("Require", " MyFeatures.VitalMessageOption"))
        self.assertEqual(head.content_type, "text/xml; charset=utf-8")
        self.assertEqual(head.media_type, "text/xml")
        self.assertEqual(head.content_header("content-id"), "<1234567890@foo.com>")
        self.assertEqual(RFC_EXAMPLE[head.body_offset :][:6], b"<body>")

    def test_rcs_group_message_with_imdn(self) -> None:
        head = parsed(
            with_headers(
                "From: <sip:anonymous@anonymous.invalid>",
                "To: <sip:anonymous@anonymous.invalid>",
                "NS: imdn <urn:ietf:params:imdn>",
                "imdn.Message-ID: Msg6rn78PUQzC",
                "imdn.Disposition-Notification: positive-delivery, display",
                "DateTime: 2026-11-23T09:00:00.000Z",
            )
        )
        self.assertEqual(head.from_, CpimAddress("sip:anonymous@anonymous.invalid"))
        self.assertEqual(head.get_all("Message-ID", IMDN_NAMESPACE), ["Msg6rn78PUQzC"])
        self.assertEqual(
            head.get_all("Disposition-Notification", IMDN_NAMESPACE),
            ["positive-delivery, display"],
        )

    def test_line_ends_of_bare_lf_in_the_content_headers(self) -> None:
        data = (
            b"From: <sip:a@example.com>\r\nTo: <sip:r@example.com>\r\n\r\n"
            b"Content-Type: text/html\nContent-Language: fr\n\nBonjour"
        )
        head = parsed(data)
        self.assertEqual(
            head.content_headers, (("Content-Type", "text/html"), ("Content-Language", "fr"))
        )
        self.assertEqual(data[head.body_offset :], b"Bonjour")

    def test_line_ends_of_bare_lf_everywhere(self) -> None:
        data = RFC_EXAMPLE.replace(b"\r\n", b"\n")
        head = parsed(data)
        self.assertEqual(head.from_, CpimAddress("im:piglet@100akerwood.com", "MR SANDERS"))
        self.assertEqual(len(head.headers), 9)
        self.assertEqual(data[head.body_offset :][:6], b"<body>")

    def test_the_first_blank_line_ends_the_headers_whatever_its_line_end(self) -> None:
        head = parsed(b"From: sip:a@b\n\nContent-Type: text/plain\n\nFrom: x\r\n\r\nmore\r\n\r\n")
        self.assertEqual(head.from_, CpimAddress("sip:a@b"))
        self.assertEqual(head.body_offset, len(b"From: sip:a@b\n\nContent-Type: text/plain\n\n"))

    def test_address_without_brackets(self) -> None:
        head = parsed(with_headers("From: sip:a@example.com;user=phone", "To:tel:+1-555"))
        self.assertEqual(head.from_, CpimAddress("sip:a@example.com;user=phone"))
        self.assertEqual(head.to, (CpimAddress("tel:+1-555"),))

    def test_missing_from_and_to_are_for_the_reader_to_refuse(self) -> None:
        head = parsed(with_headers("DateTime: 2026-11-23T09:00:00Z"))
        self.assertIsNone(head.from_)
        self.assertEqual(head.to, ())

    def test_no_headers_at_all(self) -> None:
        head = parsed(b"\r\n\r\nHello")
        self.assertEqual((head.headers, head.content_headers), ((), ()))
        self.assertEqual(head.content_type, "text/plain")
        self.assertEqual(head.body_offset, 4)

    def test_content_without_headers_or_type_is_plain_text(self) -> None:
        data = b"From: <sip:a@b>\r\n\r\n\r\nHello"
        self.assertEqual(parsed(data).media_type, "text/plain")
        self.assertEqual(data[parsed(data).body_offset :], b"Hello")
        data = b"From: <sip:a@b>\r\n\r\nContent-Language: en\r\n\r\nHello"
        self.assertEqual(parsed(data).media_type, "text/plain")

    def test_several_to_and_cc(self) -> None:
        head = parsed(with_headers("To: <sip:b@x>", "cc: C <sip:c@x>", "To: <sip:d@x>"))
        self.assertEqual(head.to, (CpimAddress("sip:b@x"), CpimAddress("sip:d@x")))
        self.assertEqual(head.cc, (CpimAddress("sip:c@x", "C"),))

    def test_names_are_case_sensitive(self) -> None:
        self.assertIsNone(parsed(with_headers("from: <sip:a@b>")).from_)

    def test_escapes(self) -> None:
        head = parsed(
            with_headers(
                r'From: "Joe \"J\" \u0041\\" <sip:joe@example.com>',
                r"Subject: one\ttwo\r\n\b \u00e9 \u00E9 \ud83d\ude00 \q \'" + "\\",
            )
        )
        self.assertEqual(head.from_, CpimAddress("sip:joe@example.com", 'Joe "J" A\\'))
        self.assertEqual(head.subject, "one\ttwo\r\n\b é é 😀 q '")

    def test_half_a_pair_of_utf16_is_replaced(self) -> None:
        head = parsed(with_headers(r"Subject: \ud83d!"))
        self.assertEqual(head.subject, "\ufffd!")

    def test_escaped_uri_is_the_uri_that_a_recipient_sees(self) -> None:
        head = parsed(with_headers(r"From: <sip:\u0061lice@example.com>"))
        self.assertEqual(head.from_, CpimAddress("sip:alice@example.com"))

    def test_parameters(self) -> None:
        head = parsed(
            with_headers(
                r'Subject:;note="a; \"b\"";lang=de Guten Tag',
                "From:;x=1 Alice <sip:alice@example.com>",
            )
        )
        self.assertEqual(head.subjects, (("de", "Guten Tag"),))
        self.assertEqual(head.subject, "Guten Tag")
        self.assertEqual(head.from_, CpimAddress("sip:alice@example.com", "Alice"))

    def test_folded_content_header(self) -> None:
        head = parsed(b"\r\nContent-Type: text/plain;\r\n  charset=utf-8\r\n\r\nHello")
        self.assertEqual(head.content_type, "text/plain; charset=utf-8")

    def test_content_headers_need_not_be_utf8(self) -> None:
        head = parsed(b"\r\nContent-Disposition: attachment; filename=\xe9.txt\r\n\r\n")
        self.assertEqual(
            head.content_header("Content-Disposition"), "attachment; filename=\ufffd.txt"
        )

    def test_incomplete(self) -> None:
        for length in range(parsed(RFC_EXAMPLE).body_offset):
            self.assertIsNone(parse_cpim_head(RFC_EXAMPLE[:length]))

    def test_size_is_bounded(self) -> None:
        start = b"From: <sip:a@b>\r\nX: "
        end = b"\r\n\r\nContent-Type: text/plain\r\n\r\n"
        fits = start + b"x" * (MAX_HEAD - len(start) - len(end)) + end
        self.assertEqual(parsed(fits + b"body").body_offset, MAX_HEAD)
        self.refused(start + b"x" + fits[len(start) :], "8192", 413)
        self.assertIsNone(parse_cpim_head(b"x" * MAX_HEAD))
        self.refused(b"x" * (MAX_HEAD + 1), "8192", 413)
        self.refused(b"X: " + b"x" * (MAX_HEAD - 8) + b"\r\n\r\n\r\n", "8192", 413)

    def test_two_senders_are_refused(self) -> None:
        self.refused(with_headers("From: <sip:a@b>", "From: <sip:c@d>"), "two From")

    def test_second_sender_cannot_hide_in_a_namespace(self) -> None:
        core = "urn:ietf:params:cpim-headers:"
        self.refused(
            with_headers("From: <sip:a@b>", f"NS: x <{core}>", "x.From: <sip:c@d>"), "two From"
        )
        self.refused(with_headers("From: <sip:a@b>", "NS: <urn:y>", "From: <sip:c@d>"), "two From")
        head = parsed(
            with_headers(
                "From: <sip:a@b>",
                f"NS: x <{core}>",
                "x.NS: y <urn:y>",
                "y.Z: 1",
                "NS: x <urn:x>",
                "x.From: <sip:c@d>",
            )
        )
        self.assertEqual(head.from_, CpimAddress("sip:a@b"))
        self.assertEqual(head.get_all("From", "urn:x"), ["<sip:c@d>"])
        self.assertEqual(head.get_all("Z", "urn:y"), ["1"])

    def test_default_namespace_of_further_headers(self) -> None:
        head = parsed(with_headers("NS: <urn:widgets>", "runner-trap: set", "To: <sip:r@b>"))
        self.assertEqual(head.get_all("runner-trap", "urn:widgets"), ["set"])
        self.assertEqual(head.get_all("runner-trap"), [])
        self.assertEqual(head.get_all("To"), ["<sip:r@b>"])
        self.assertEqual(head.to, (CpimAddress("sip:r@b"),))

    def test_malformed(self) -> None:
        for line, reason in (
            ("From", "no colon"),
            (" folded: x", "name has a character"),
            ("From : <sip:a@b>", "name has a character"),
            (": x", "name has a character"),
            ("From: ", "must have a URI"),
            ("From: <>", "must have a URI"),
            ("From: Alice", "must have a URI"),
            ("From: Alice sip:a@b", "must have a URI"),
            ("From: <sip:a b>", "must have a URI"),
            (r"From: <sip:a\u0000b>", "control character in its URI"),
            ("From: sip:a@b>", "no '<'"),
            ("From: <sip:a@b", "must end with the '>'"),
            ("From: <sip:a@b>;tag=1", "must end with the '>'"),
            ("To: <sip:a@b>, <sip:c@d>", "one address"),
            ('From: "x <sip:a@b>" y <sip:c@d>', "quotes"),
            ('From: "x <sip:a@b>', "quotes"),
            (r'From: "x\" <sip:a@b>', "quotes"),
            ("NS: imdn urn:ietf:params:imdn", "NS header"),
            ("Subject: a\x00b", "control character"),
            ("Subject: a\x7fb", "control character"),
            ("Subject: a\rFrom: <sip:a@b>", "CR without LF"),
        ):
            with self.subTest(line=line):
                self.refused(with_headers(line), reason)

    def test_headers_that_are_not_utf8(self) -> None:
        self.refused(b"From: \xe9 <sip:a@b>\r\n\r\n\r\n", "not UTF-8, at octet 6")

    def test_body_where_content_headers_should_be(self) -> None:
        self.refused(b"From: <sip:a@b>\r\n\r\nHello there\r\n\r\n", "MIME headers")

    def test_two_content_types_are_refused(self) -> None:
        self.refused(b"\r\nContent-Type: a/b\r\ncontent-type: c/d\r\n\r\n", "two Content-Type")

    @given(st.binary(max_size=200))
    @example(b"From: <sip:a@b>\r\n\r\n\r\n")
    @settings(deadline=None)
    def test_any_bytes_give_a_head_or_the_error(self, data: bytes) -> None:
        try:
            head = parse_cpim_head(data)
        except CpimError:
            return
        if head is not None:
            self.assertLessEqual(head.body_offset, len(data))
            for name, _ in head.headers:
                head.get_all(name.rpartition(".")[2])

    @given(
        st.lists(
            st.sampled_from(
                (
                    "From: ",
                    "To:",
                    "NS: ",
                    "x.",
                    "Subject:;lang=",
                    "<sip:a@b>",
                    "urn:ietf:params:cpim-headers:",
                    '"',
                    "\\",
                    "\\u00",
                    "\\ud83d",
                    "<",
                    ">",
                    ";",
                    " ",
                    "é",
                    "\u2028",
                    "\x85",
                    "\r",
                    "\n",
                    "\r\n",
                    "\r\n\r\n",
                    "Content-Type: text/plain",
                )
            ),
            max_size=30,
        )
    )
    @settings(max_examples=200, deadline=None)
    def test_pieces_of_heads_give_a_head_or_the_error_however_split(
        self, pieces: list[str]
    ) -> None:
        data = "".join(pieces).encode()
        expected: CpimHead | str | None
        try:
            expected = parse_cpim_head(data)
        except CpimError as error:
            expected = str(error)
        results: list[CpimHead | str | None] = []
        for length in range(len(data) + 1):
            try:
                results.append(parse_cpim_head(data[:length]))
            except CpimError as error:
                results.append(str(error))
        complete = [result for result in results if result is not None]
        self.assertEqual(complete, [expected] * len(complete))
        if isinstance(expected, CpimHead):
            self.assertEqual(len(complete), len(data) + 1 - expected.body_offset)


uris = st.from_regex(r"(sip|im|tel):[A-Za-z0-9+._~%@:;=é-]{1,30}", fullmatch=True)
# Every character that has a UTF-8 form; an empty name is no name.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
addresses = st.builds(CpimAddress, uris, st.none() | texts)


class BuildTests(SynchronousTestCase):
    def test_typical_head(self) -> None:
        self.assertEqual(
            build_cpim_head(
                CpimAddress("sip:alice@example.com", "Alice Liddell"),
                CpimAddress("sip:conf1@example.com"),
                datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC),
            ),
            b"From: Alice Liddell <sip:alice@example.com>\r\n"
            b"To: <sip:conf1@example.com>\r\n"
            b"DateTime: 2026-11-23T09:00:00Z\r\n"
            b"\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n"
            b"\r\n",
        )

    def test_every_part(self) -> None:
        self.assertEqual(
            build_cpim_head(
                CpimAddress("sip:a@b", 'A "x", B'),
                [CpimAddress("sip:c@d"), CpimAddress("sip:e@f")],
                datetime(2026, 11, 23, 9, 0, 0, 500000, tzinfo=timezone(timedelta(hours=1))),
                "message/imdn+xml",
                headers=(("NS", "imdn <urn:ietf:params:imdn>"), ("imdn.Message-ID", "a\\b")),
                subject="two\r\nlines",
                content_headers=(("Content-Disposition", "notification"),),
            ),
            b'From: "A \\"x\\", B" <sip:a@b>\r\n'
            b"To: <sip:c@d>\r\n"
            b"To: <sip:e@f>\r\n"
            b"DateTime: 2026-11-23T09:00:00.500000+01:00\r\n"
            b"Subject: two\\r\\nlines\r\n"
            b"NS: imdn <urn:ietf:params:imdn>\r\n"
            b"imdn.Message-ID: a\\\\b\r\n"
            b"\r\n"
            b"Content-Type: message/imdn+xml\r\n"
            b"Content-Disposition: notification\r\n"
            b"\r\n",
        )

    def test_what_cannot_be_written_is_refused(self) -> None:
        good = CpimAddress("sip:a@b")
        for bad in ("sip:a@b>\r\nX: y", "a@b", "sip:a b", "sip:\x01", ""):
            self.assertRaises(CpimError, build_cpim_head, CpimAddress(bad), good)
            self.assertRaises(CpimError, build_cpim_head, good, CpimAddress(bad))
        self.assertRaises(CpimError, build_cpim_head, good, good, headers=(("X:", "y"),))
        self.assertRaises(CpimError, build_cpim_head, good, good, None, "text/plain\r\nX: y")
        self.assertRaises(
            CpimError, build_cpim_head, good, good, content_headers=(("X", "y\r\n\r\nz"),)
        )
        self.assertRaises(CpimError, build_cpim_head, good, good, datetime(2026, 11, 23))

    def test_lone_surrogate_becomes_a_question_mark(self) -> None:
        head = build_cpim_head(CpimAddress("sip:a@b", "x\ud83d"), CpimAddress("sip:c@d"))
        self.assertIn(b"From: x? <sip:a@b>\r\n", head)

    @given(addresses)
    @settings(deadline=None)
    def test_address_round_trip(self, address: CpimAddress) -> None:
        self.assertEqual(CpimAddress.parse(str(address)), address)

    @given(
        addresses,
        st.lists(addresses, max_size=3),
        st.none() | texts,
        st.lists(st.tuples(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,9}", fullmatch=True), texts)),
        st.binary(max_size=20),
    )
    @settings(deadline=None)
    def test_round_trip(
        self,
        from_: CpimAddress,
        to: list[CpimAddress],
        subject: str | None,
        headers: list[tuple[str, str]],
        body: bytes,
    ) -> None:
        # White space at the ends of a value is not kept (RFC 3862 §2.2).
        stripped = None if subject is None else subject.strip(" ")
        headers = [(f"x.{name}", value.strip(" ")) for name, value in headers]
        built = build_cpim_head(
            from_,
            to,
            "2026-11-23T09:00:00Z",
            headers=[("NS", "x <urn:x>"), *headers],
            subject=subject,
        )
        head = parsed(built + body)
        self.assertEqual(head.from_, from_)
        self.assertEqual(head.to, tuple(to))
        self.assertEqual(head.subject, stripped)
        self.assertEqual(head.date_time, "2026-11-23T09:00:00Z")
        for name, value in headers:
            self.assertIn(value, head.get_all(name.removeprefix("x."), "urn:x"))
        self.assertEqual(head.content_type, "text/plain; charset=utf-8")
        self.assertEqual(head.body_offset, len(built))
