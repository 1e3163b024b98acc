"""Changes of single nodes (RFC 4825 §7, §8.2, §8.4)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.xcap.editing import delete_node, get_node, put_node
from msrpconf.xcap.errors import Conflict, Refused
from msrpconf.xcap.selector import NodeSelector
from msrpconf.xcap.tree import TreeError, parse_tree

ROOT = b"""<?xml version="1.0"?>
<root>
 <el1 att="first"/>
 <el1 att="second"/>
 <!-- comment -->
 <el2 att="first"/>
</root>
"""
"""The document of §8.2.3."""

LISTS = "urn:ietf:params:xml:ns:resource-lists"
FRIENDS = b"""<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
  <list name="friends">
  </list>
</resource-lists>
"""
"""Figure 24."""


def node(text: str, query: str = "", default: str = "") -> NodeSelector:
    return NodeSelector.parse(text, query, default)


class PutElementTests(SynchronousTestCase):
    def becomes(self, text: str, body: bytes, old: bytes, new: bytes) -> None:
        """Putting `body` makes `new` of `old`, once in the document, and then gives it back."""
        self.assertEqual(ROOT.count(old), 1)
        document, created = put_node(ROOT, node(text), body)
        self.assertEqual(document, ROOT.replace(old, new), text)
        self.assertTrue(created)
        self.assertEqual(get_node(document, node(text)), body)
        # It is idempotent, and then a replacement.
        self.assertEqual(put_node(document, node(text), body), (document, False))

    def test_the_examples_of_section_8_2_3(self) -> None:
        second = b'<el1 att="second"/>'
        for text in (
            'root/el1[@att="third"]',
            'root/el1[3][@att="third"]',
            'root/*[3][@att="third"]',
        ):
            self.becomes(text, b'<el1 att="third"/>', second, second + b'<el1 att="third"/>')
        self.becomes("root/el3", b'<el3 att="first"/>', b"</root>", b'<el3 att="first"/></root>')
        el2 = b'<el2 att="first"/>'
        for text in ('root/el2[@att="2"]', 'root/el2[2][@att="2"]'):
            self.becomes(text, b'<el2 att="2"/>', el2, el2 + b'<el2 att="2"/>')
        first = b'<el1 att="first"/>'
        self.becomes('root/*[2][@att="2"]', b'<el2 att="2"/>', first, first + b'<el2 att="2"/>')
        self.becomes('root/el2[1][@att="2"]', b'<el2 att="2"/>', el2, b'<el2 att="2"/>' + el2)

    def test_other_places(self) -> None:
        first, end = b'<el1 att="first"/>', b"</root>"
        for text in ('root/*[1][@att="x"]', 'root/el1[1][@att="x"]'):
            self.becomes(text, b'<el1 att="x"/>', first, b'<el1 att="x"/>' + first)
        # After all, comments too.
        for text in ("root/new", "root/new[1]", 'root/new[@att="x"]', 'root/*[@att="x"]'):
            self.becomes(text, b'<new att="x"/>', end, b'<new att="x"/>' + end)
        self.becomes('root/*[@att="x"]', b'<el1 att="x"/>', end, b'<el1 att="x"/>' + end)
        self.becomes(
            'root/*[4][@att="x"]',
            b'<n att="x"/>',
            b'<el2 att="first"/>',
            b'<el2 att="first"/><n att="x"/>',
        )
        self.becomes(
            "root/el2/deep", b"<deep/>", b'<el2 att="first"/>', b'<el2 att="first"><deep/></el2>'
        )
        self.becomes(
            "root/el2/*", b"<deep/>", b'<el2 att="first"/>', b'<el2 att="first"><deep/></el2>'
        )

    def test_what_could_not_be_fetched_again(self) -> None:
        for text, body in (
            ("root/el3[2]", b"<el3/>"),
            ("root/el1[4]", b"<el1/>"),
            ("root/*[5]", b"<el1/>"),
            ("root/el1[0]", b"<el1/>"),
            ("root/el3", b"<el4/>"),
            ('root/el1[@att="x"]', b'<el1 att="y"/>'),
            ('root/el1[@att="x"]', b"<el1/>"),
            ('root/el1[@att="first"]', b'<el1 att="x"/>'),
            ("root/el1[2]", b"<el2/>"),
            ("root/el1", b"<el1/>"),
            ("root/*", b"<el1/>"),
            ('root/*[@att="first"]', b'<el1 att="first"/>'),
            ("other", b"<other/>"),
        ):
            error = self.assertRaises(Conflict, put_node, ROOT, node(text), body)
            self.assertEqual(error.condition, "cannot-insert", (text, body))

    def test_the_example_of_section_7_4(self) -> None:
        document = b'<rls-services><service uri="sip:good-friends@example.com"/></rls-services>'
        selector = node('rls-services/service[@uri="sip:good-friends@example.com"]')
        body = b'<service uri="sip:mybuddies@example.com"/>'
        error = self.assertRaises(Conflict, put_node, document, selector, body)
        self.assertEqual(error.condition, "cannot-insert")
        # By position it can be done.
        done, created = put_node(document, node("rls-services/service[1]"), body)
        self.assertEqual((done, created), (b"<rls-services>" + body + b"</rls-services>", False))

    def test_no_parent(self) -> None:
        for text in (
            "root/no/el1",
            "no/el1",
            "root/el1/x",
            'root/el1[@att="x"]/y',
            "root/el2[2]/@x",
        ):
            error = self.assertRaises(Conflict, put_node, ROOT, node(text), b"<el1/>")
            self.assertEqual(error.condition, "no-parent", text)

    def test_what_is_no_element(self) -> None:
        for body, condition in (
            (b"", "not-xml-frag"),
            (b"text", "not-xml-frag"),
            (b"<a>", "not-xml-frag"),
            (b"<a/><b/>", "not-xml-frag"),
            (b"<a/>text", "not-xml-frag"),
            (b"<!-- c --><a/>", "not-xml-frag"),
            (b"<a/></w><w>", "not-xml-frag"),
            (b"</root><root>", "not-xml-frag"),
            (b'<?xml version="1.0"?><a/>', "not-xml-frag"),
            (b"<!DOCTYPE a><a/>", "not-xml-frag"),
            (b"<p:a/>", "not-xml-frag"),
            (b"<a>\xff</a>", "not-utf-8"),
        ):
            error = self.assertRaises(Conflict, put_node, ROOT, node("root/a"), body)
            self.assertEqual(error.condition, condition, body)

    def test_all_else_stays_as_it_is(self) -> None:
        """Declarations of namespaces that are there already, too (§8.2.3, §8.2.4)."""
        document = (
            b'<a xmlns="u" xmlns:p="v"  b = \'1\'\n><!-- c --><?p i?> <p:x/>\t<![CDATA[<]]></a >'
        )
        body = b'<p:x xmlns:p="v" xmlns="u"> <!-- d --> </p:x>'
        selector = node("a/q:x", "xmlns(q=v)", "u")
        done, created = put_node(document, selector, b"\n" + body + b" ")
        self.assertFalse(created)
        self.assertEqual(done, document.replace(b"<p:x/>", body))
        self.assertEqual(get_node(done, selector), body)

    def test_the_examples_of_section_13(self) -> None:
        def at(text: str) -> NodeSelector:
            return node(text, "", LISTS)

        entry = (
            b'<entry uri="sip:bob@example.com">\n    <display-name>Bob Jones</display-name>'
            b"\n  </entry>"
        )
        document, _ = put_node(FRIENDS, at('resource-lists/list[@name="friends"]/entry'), entry)
        self.assertIn(b'<list name="friends">\n  ' + entry + b"</list>", document)
        people = b"".join(
            b'\n   <entry uri="sip:%s@example.com"/>' % name
            for name in (b"joe", b"nancy", b"petri")
        )
        close = b'<list name="close-friends">' + people + b"\n</list>"
        path = 'resource-lists/list[@name="friends"]/list[@name="close-friends"]'
        document, created = put_node(document, at(path), close)
        self.assertTrue(created)
        self.assertIn(entry + close + b"</list>", document)
        petri = 'resource-lists/list/list/entry[@uri="sip:petri@example.com"]'
        document = delete_node(document, at(petri))
        self.assertNotIn(b"petri", document)
        self.assertIn(b'"sip:nancy@example.com"/>\n   \n</list>', document)
        nancy = get_node(document, at("resource-lists/list/list/entry[2]/@uri"))
        self.assertEqual(nancy, b'"sip:nancy@example.com"')


class PutAttributeTests(SynchronousTestCase):
    def test_made_and_replaced(self) -> None:
        at = node("root/el2/@new")
        document, created = put_node(ROOT, at, b'"1"')
        self.assertTrue(created)
        self.assertEqual(document, ROOT.replace(b'<el2 att="first"', b'<el2 att="first" new="1"'))
        document, created = put_node(document, at, b"'2 &amp; \"3\"'")
        self.assertFalse(created)
        self.assertIn(b'<el2 att="first" new=\'2 &amp; "3"\'/>', document)
        self.assertEqual(get_node(document, at), b"'2 &amp; \"3\"'")

    def test_without_quotes(self) -> None:
        document, _ = put_node(ROOT, node("root/@a"), b"b \"c\" 'd'\n")
        self.assertIn(b"<root a=\"b &quot;c&quot; 'd'\">", document)

    def test_with_a_namespace(self) -> None:
        document = b'<a xmlns:p="u"><b/></a>'
        done, _ = put_node(document, node("a/b/@q:c", "xmlns(q=u)"), b'"1"')
        self.assertEqual(done, b'<a xmlns:p="u"><b p:c="1"/></a>')
        selector = node("a/b/@q:c", "xmlns(q=other)")
        error = self.assertRaises(Conflict, put_node, document, selector, b'"1"')
        self.assertEqual(error.condition, "cannot-insert")

    def test_the_example_of_section_7_7(self) -> None:
        document = b'<rls-services><service uri="sip:good-friends@example.com"/></rls-services>'
        selector = node('rls-services/service[@uri="sip:good-friends@example.com"]/@uri')
        body = b'"sip:bad-friends@example.com"'
        error = self.assertRaises(Conflict, put_node, document, selector, body)
        self.assertEqual(error.condition, "cannot-insert")
        done, _ = put_node(document, node("rls-services/service/@uri"), body)
        self.assertIn(body, done)

    def test_what_is_no_value(self) -> None:
        for body, condition in (
            (b'"a', "not-xml-att-value"),
            (b'"a" b="c"', "not-xml-att-value"),
            (b'"a"/><b c="d"', "not-xml-att-value"),
            (b'"a"><b/></a><a d="e"', "not-xml-att-value"),
            (b'"<"', "not-xml-att-value"),
            (b"a < b", "not-xml-att-value"),
            (b"a & b", "not-xml-att-value"),
            (b'"&unknown;"', "not-xml-att-value"),
            (b'"\x01"', "not-xml-att-value"),
            (b'"\xff"', "not-utf-8"),
        ):
            error = self.assertRaises(Conflict, put_node, ROOT, node("root/@a"), body)
            self.assertEqual(error.condition, condition, body)


class DeleteTests(SynchronousTestCase):
    def test_white_space_stays(self) -> None:
        done = delete_node(ROOT, node('root/el1[@att="first"]'))
        self.assertEqual(done, ROOT.replace(b'<el1 att="first"/>', b""))
        self.assertEqual(
            delete_node(ROOT, node("root/el2/@att")), ROOT.replace(b'<el2 att="first"/>', b"<el2/>")
        )

    def test_what_the_uri_would_then_select_again(self) -> None:
        """By position, only the last can be deleted (§7.5)."""
        for text in ("root/el1[1]", "root/*[1]", "root/*[2]"):
            error = self.assertRaises(Conflict, delete_node, ROOT, node(text))
            self.assertEqual(error.condition, "cannot-delete", text)
        for text in ("root/el1[2]", "root/*[3]", 'root/*[1][@att="first"]', "root/el2"):
            delete_node(ROOT, node(text))

    def test_what_is_not_there(self) -> None:
        for text in ("root/el3", "root/el1", "root/el1[3]", "root/@a", "x"):
            error = self.assertRaises(Refused, delete_node, ROOT, node(text))
            self.assertEqual(error.status, 404, text)

    def test_the_root(self) -> None:
        error = self.assertRaises(Conflict, delete_node, ROOT, node("root"))
        self.assertEqual(error.condition, "schema-validation-error")


_NAMES = st.sampled_from(("a", "b", "p:a", "p:b"))
_ATTRIBUTES = st.sampled_from(
    ("", ' c="1"', " c = '2'", ' p:c="1" c="3"', ' xmlns="v"', ' xmlns:q="u"')
)
_TEXTS = st.sampled_from(
    ("", " ", "<!-- <a> -->", "<?p <a>?>", "<![CDATA[</a>]]>", "ü&amp;", "\n>")
)
_ELEMENTS = st.recursive(
    st.builds("<{}{}/>".format, _NAMES, _ATTRIBUTES),
    lambda inner: st.builds(
        lambda name, attributes, children, text: (
            f"<{name}{attributes} >{text}{text.join(children)}{text}</{name}\n>"
        ),
        _NAMES,
        _ATTRIBUTES,
        st.lists(inner, max_size=4),
        _TEXTS,
    ),
    max_leaves=12,
)
_STEPS = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(("a", "b", "p:a", "p:b", "*")),
        st.sampled_from(("", "[1]", "[2]", "[3]")),
        st.sampled_from(("", '[@c="1"]', "[@c='2']", '[@p:c="1"]')),
    ),
    max_size=2,
)


class AnyDocumentTests(SynchronousTestCase):
    @given(_ELEMENTS, _STEPS, _ELEMENTS)
    @settings(max_examples=300, deadline=None)
    def test_what_was_put_is_what_is_got(self, inner: str, steps: list[str], body: str) -> None:
        """GET(PUT(x)) == x, and the document stays one; else it is refused."""
        document = f'<r xmlns="u" xmlns:p="u2">{inner}</r>'.encode()
        selector = node("/".join(["r", *steps]), "xmlns(p=u2)", "u")
        try:
            after, _ = put_node(document, selector, body.encode())
        except Conflict:
            return
        self.assertEqual(get_node(after, selector), body.encode())
        try:
            without = delete_node(after, selector)
        except Conflict:
            return
        self.assertRaises(Refused, get_node, without, selector)

    @given(st.binary(max_size=60))
    @settings(max_examples=300, deadline=None)
    def test_whatever_is_sent(self, body: bytes) -> None:
        for text in ("root/a", "root/@a", "root/el2/@att"):
            try:
                put_node(ROOT, node(text), body)
            except Conflict:
                pass
        try:
            parse_tree(body)
        except TreeError:
            pass
