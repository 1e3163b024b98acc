"""The attributes of RFC 5547: read, written, refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sdp import MediaDescription, SdpError, SessionDescription
from msrpconf.protocols.sdp_file import (
    FileDates,
    FileDescription,
    FileHash,
    FileRange,
    FileSelector,
    is_for_file,
    mirrored,
)

SHA = "72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E"
DIGEST = bytes.fromhex(SHA.replace(":", ""))
EXAMPLE = f'name:"My cool picture.jpg" type:image/jpeg size:32349 hash:sha-1:{SHA}'
ID = "vBnG916bdberum2fFEABR1FR3ExZMUrd"


def line(*attributes: str) -> MediaDescription:
    pairs = (each.partition(":") for each in attributes)
    return MediaDescription(
        "message",
        7654,
        "TCP/MSRP",
        ("*",),
        tuple((name, value if colon else None) for name, colon, value in pairs),
    )


class SelectorTests(SynchronousTestCase):
    def test_the_standards_example(self) -> None:
        selector = FileSelector.parse(EXAMPLE)
        self.assertEqual(selector.name, "My cool picture.jpg")
        self.assertEqual((selector.type, selector.size), ("image/jpeg", 32349))
        self.assertEqual(selector.hashes, (FileHash("sha-1", DIGEST),))
        self.assertEqual(selector.digest("sha-1"), DIGEST)
        self.assertIsNone(selector.digest("sha-256"))
        self.assertEqual(str(selector), EXAMPLE)

    def test_empty_says_that_files_are_understood(self) -> None:
        self.assertEqual(FileSelector.parse(""), FileSelector())
        self.assertEqual(str(FileSelector()), "")

    def test_names_are_escaped(self) -> None:
        for name, written in (
            ('say "hi".txt', 'name:"say %22hi%22.txt"'),
            ("100%.txt", 'name:"100%25.txt"'),
            ("a/b\\c", 'name:"a%2Fb%5Cc"'),
            ("Grüße.txt", 'name:"Grüße.txt"'),
            ("two\r\nlines", 'name:"two%0D%0Alines"'),
        ):
            self.assertEqual(str(FileSelector(name)), written)
            self.assertEqual(FileSelector.parse(written).name, name)
        self.assertEqual(FileSelector.parse('name:"Gr%C3%BC%C3%9Fe"').name, "Grüße")
        self.assertEqual(FileSelector.parse('name:"%FF"').name, "\ufffd")

    def test_type_with_parameters(self) -> None:
        selector = FileSelector.parse('type:Text/Plain;charset="utf-8";x="a%22b c" size:1')
        self.assertEqual(selector.media_type, "text/plain")
        self.assertEqual(selector.content_type, 'Text/Plain; charset="utf-8"')
        self.assertEqual(selector.size, 1)

    def test_several_hashes_and_what_clients_call_them(self) -> None:
        sha256 = ":".join(["AB"] * 32)
        selector = FileSelector.parse(f"hash:SHA1:{SHA.lower()} hash:sha-256:{sha256} hash:x:00")
        self.assertEqual([each.algorithm for each in selector.hashes], ["sha-1", "sha-256", "x"])
        self.assertEqual(str(selector), f"hash:sha-1:{SHA} hash:sha-256:{sha256} hash:x:00")

    def test_what_cannot_be_read(self) -> None:
        for value in (
            "nonsense",
            'name:""',
            'name:"open',
            'name:"a"size:1',
            "size:-1",
            "size:" + "9" * 19,
            "type:image",
            "hash:sha-1:7",
            "hash:sha-1:7G",
            "size:1 size:2",
            'name:"a" name:"b"',
            "hash:sha-1:AB",
            " ".join(["hash:x:00"] * 17),
        ):
            self.assertRaises(SdpError, FileSelector.parse, value)

    @given(
        st.builds(
            FileSelector,
            st.none() | st.text(min_size=1),
            st.sampled_from((None, "image/jpeg", 'text/plain;charset="utf-8"')),
            st.none() | st.integers(0, 10**18 - 1),
            st.lists(
                st.builds(FileHash, st.just("sha-1"), st.binary(min_size=20, max_size=20)),
                max_size=3,
            ).map(tuple),
        )
    )
    def test_parse_and_str_are_inverse(self, selector: FileSelector) -> None:
        self.assertEqual(FileSelector.parse(str(selector)), selector)

    @given(st.text())
    def test_gives_a_value_or_an_error(self, value: str) -> None:
        try:
            FileSelector.parse(value)
        except SdpError:
            pass


class DescriptionTests(SynchronousTestCase):
    def test_all_attributes(self) -> None:
        attributes = (
            f"file-selector:{EXAMPLE}",
            f"file-transfer-id:{ID}",
            "file-disposition:attachment",
            'file-date:creation:"Mon, 15 May 2006 15:01:31 +0300"',
            "file-icon:cid:id2@alicepc.example.com",
            "file-range:1-32349",
        )
        description = FileDescription.of(line("sendonly", *attributes))
        assert description is not None
        self.assertEqual(description.transfer_id, ID)
        self.assertEqual(description.range, FileRange(1, 32349))
        self.assertEqual(description.disposition, "attachment")
        self.assertEqual(description.dates, FileDates("Mon, 15 May 2006 15:01:31 +0300"))
        self.assertEqual(description.icon, "cid:id2@alicepc.example.com")
        self.assertEqual(description.attributes, line(*attributes).attributes)

    def test_lines_that_are_for_messages(self) -> None:
        for each in (line("sendonly"), line("file-selector"), line("file-selector:")):
            self.assertFalse(is_for_file(each))
        self.assertTrue(is_for_file(line("file-selector:size:1")))
        self.assertIsNone(FileDescription.of(line("accept-types:*")))

    def test_hints_that_cannot_be_read_say_nothing(self) -> None:
        description = FileDescription.of(line("file-selector:size:1", "file-date:yesterday"))
        self.assertEqual(description, FileDescription(FileSelector(size=1)))

    def test_what_matters_and_cannot_be_read(self) -> None:
        for attributes in (
            ("file-selector:nothing",),
            ("file-selector:size:1", "file-transfer-id:two words"),
            ("file-selector:size:1", "file-transfer-id:" + "x" * 257),
            ("file-selector:size:1", "file-range:0-1"),
            ("file-selector:size:1", "file-range:5-4"),
            ("file-selector:size:1", "file-range:all"),
        ):
            self.assertRaises(SdpError, FileDescription.of, line(*attributes))

    def test_ranges(self) -> None:
        for text in ("1-*", "5-7", "7-7"):
            self.assertEqual(str(FileRange.parse(text)), text)

    def test_dates(self) -> None:
        text = 'creation:"a" modification:"b" read:"c"'
        self.assertEqual(str(FileDates.parse(text)), text)
        for wrong in ("", 'creation:"a" creation:"b"', 'creation:"a" x', "creation:a"):
            self.assertRaises(SdpError, FileDates.parse, wrong)

    def test_what_an_answer_repeats(self) -> None:
        offered = line("sendonly", "file-selector:size:01", "file-icon:x", f"file-transfer-id:{ID}")
        self.assertEqual(
            mirrored(offered), (("file-selector", "size:01"), ("file-transfer-id", ID))
        )


class RefusalTests(SynchronousTestCase):
    def test_a_refused_line_still_names_its_file(self) -> None:
        """RFC 5547 §8.3."""
        offered = line("sendonly", "file-selector:size:1", f"file-transfer-id:{ID}", "path:x")
        refused = offered.refused()
        self.assertEqual(refused.port, 0)
        self.assertEqual(
            refused.attributes, (("file-selector", "size:1"), ("file-transfer-id", ID))
        )

    def test_other_refused_lines_are_bare(self) -> None:
        description = SessionDescription.parse(
            b"v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\na=sendonly\r\n"
        )
        self.assertEqual(description.media[0].refused().attributes, ())
