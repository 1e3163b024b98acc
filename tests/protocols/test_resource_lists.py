"""Lists of recipients: RFC 4826 as RFC 5366 and RFC 5368 use it, and nothing else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.resource_lists import (
    MAX_OCTETS,
    MAX_URI,
    Entry,
    ResourceListError,
    parse_resource_lists,
)

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
OPEN = (
    '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" '
    'xmlns:cp="urn:ietf:params:xml:ns:copycontrol">'
)
CLOSE = "</resource-lists>"


def document(inside: str) -> bytes:
    return f"{HEAD}{OPEN}<list>{inside}</list>{CLOSE}".encode()


class ReadTests(SynchronousTestCase):
    def test_the_list_of_rfc_5366(self) -> None:
        entries = parse_resource_lists(
            document("""
                <entry uri="sip:bill@example.com" cp:copyControl="to"  />
                <entry uri="sip:joe@example.org" cp:copyControl="cc" cp:anonymize="true" />
                <entry uri="sip:ted@example.net" cp:copyControl="bcc" />
            """),
            100,
        )
        self.assertEqual(
            entries,
            [
                Entry("sip:bill@example.com", None, "to"),
                Entry("sip:joe@example.org", None, "cc", True),
                Entry("sip:ted@example.net", None, "bcc"),
            ],
        )

    def test_the_list_of_the_original_design(self) -> None:
        [entry] = parse_resource_lists(document('<entry uri="sip:bob@example.com"/>'), 1)
        self.assertEqual(entry, Entry("sip:bob@example.com"))

    def test_names_and_what_is_passed_over(self) -> None:
        entries = parse_resource_lists(
            document("""<!-- friends --><?note x?>
                <display-name>Friends</display-name>
                <entry uri=" sip:bob@example.com " x="y">
                  <display-name xml:lang="en"> Bob
                    B. </display-name>
                  <more xmlns="urn:else">of this</more>
                </entry>
                <list xmlns="urn:else"/>
            """),
            1,
        )
        self.assertEqual(entries, [Entry("sip:bob@example.com", "Bob B.")])

    def test_several_lists_side_by_side(self) -> None:
        text = f'{OPEN}<list><entry uri="sip:a@b"/></list><list><entry uri="sip:c@d"/></list>'
        entries = parse_resource_lists(f"{text}{CLOSE}".encode(), 2)
        self.assertEqual([each.uri for each in entries], ["sip:a@b", "sip:c@d"])

    def test_nobody(self) -> None:
        self.assertEqual(parse_resource_lists(document(""), 1), [])
        self.assertEqual(parse_resource_lists(f"{OPEN}{CLOSE}".encode(), 1), [])


class RefuseTests(SynchronousTestCase):
    def refused(self, octets: bytes, why: str, limit: int = 100) -> None:
        error = self.assertRaises(ResourceListError, parse_resource_lists, octets, limit)
        self.assertIn(why, str(error))
        self.assertLess(len(str(error)), 300)

    def test_what_is_no_flat_list(self) -> None:
        nested = '<list><entry uri="sip:a@b"/></list>'
        self.refused(document(nested), "<list> in a list is not served")
        self.refused(document('<entry-ref ref="x"/>'), "<entry-ref> in a list")
        self.refused(document('<external anchor="http://x/"/>'), "<external> in a list")

    def test_what_is_no_list(self) -> None:
        self.refused(b"", "not well-formed XML")
        self.refused(b"sip:bob@example.com", "not well-formed XML")
        self.refused(document("<entry>"), "not well-formed XML")
        self.refused(b"<resource-lists/>", "expected <resource-lists xmlns=")
        self.refused(document("\xe9").replace(b"\xc3\xa9", b"\xe9"), "not well-formed XML")
        self.refused(document("").decode().encode("utf-16"), "not well-formed XML")

    def test_entries_without_a_uri(self) -> None:
        for entry in ("<entry/>", '<entry uri=" "/>', f'<entry uri="sip:{"a" * MAX_URI}"/>'):
            self.refused(document(entry), "needs a uri of 1 to")

    def test_too_much(self) -> None:
        self.refused(document('<entry uri="sip:a@b"/>' * 3), "at most 2 can be named", 2)
        self.refused(document(" " * MAX_OCTETS), "octets")
        self.refused(document("<a>" * 1000 + "</a>" * 1000), "not well-formed XML")

    def test_no_doctype(self) -> None:
        lists = document('<entry uri="sip:a@b"/>').decode().removeprefix(HEAD)
        bomb = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
        for doctype in (
            "<!DOCTYPE resource-lists>",
            '<!DOCTYPE resource-lists SYSTEM "file:///etc/passwd">',
            '<!DOCTYPE resource-lists SYSTEM "http://127.0.0.1:9/x.dtd">',
            f'<!DOCTYPE resource-lists [<!ENTITY l0 "lol">{bomb}]>',
            '<!DOCTYPE resource-lists [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        ):
            self.refused(f"{HEAD}{doctype}{lists}".encode(), "must not have a DOCTYPE")

    def test_no_doctype_in_another_encoding(self) -> None:
        """The document does not choose how its octets are read."""
        for encoding in ("utf-7", "utf-16", "utf-16-le", "utf-32", "cp500"):
            text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "c">]><a/>'
            octets = text.encode(encoding)
            if encoding == "utf-7":
                octets = text.replace("<!", "+ADw-!").encode()
            self.refused(octets, "not well-formed XML")

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_anything(self, octets: bytes) -> None:
        for each in (octets, document("").replace(b"<list>", b"<list>" + octets)):
            try:
                entries = parse_resource_lists(each, 3)
            except ResourceListError:
                continue
            self.assertLessEqual(len(entries), 3)
