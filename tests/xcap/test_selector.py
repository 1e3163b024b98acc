"""Which node a URI is about (RFC 4825 §6)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.xcap.editing import get_node
from msrpconf.xcap.errors import Refused
from msrpconf.xcap.selector import MAX_STEPS, NodeSelector, Step, parse_bindings

WATCHERINFO = b"""<?xml version="1.0"?>
<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo"
             version="0" state="full">
  <watcher-list resource="sip:professor@example.net"
                package="presence">
    <watcher status="active"
             id="8ajksjda7s"
             duration-subscribed="509"
             event="approved">sip:userA@example.net</watcher>
    <watcher status="pending"
             id="hh8juja87s997-ass7"
             display-name="Mr. Subscriber"
             event="subscribe">sip:userB@example.org</watcher>
  </watcher-list>
</watcherinfo>
"""
"""Figure 3."""

FOO = b"""<?xml version="1.0"?>
<foo xmlns="urn:test:default-namespace">
  <ns1:bar xmlns:ns1="urn:test:namespace1-uri"
           xmlns="urn:test:namespace1-uri">
    <baz/>
    <ns2:baz xmlns:ns2="urn:test:namespace2-uri"/>
  </ns1:bar>
  <ns3:hi xmlns:ns3="urn:test:namespace3-uri">
    <there/>
  </ns3:hi>
</foo>
"""
"""The document of §6.4."""

DEFAULT = "urn:test:default-namespace"
AB = "xmlns(a=urn:test:namespace1-uri)"


class SelectingTests(SynchronousTestCase):
    def selected(self, document: bytes, text: str, query: str = "", default: str = "") -> bytes:
        return get_node(document, NodeSelector.parse(text, query, default))

    def nothing(self, document: bytes, text: str, query: str = "", default: str = "") -> None:
        error = self.assertRaises(Refused, self.selected, document, text, query, default)
        self.assertEqual(error.status, 404)

    def test_the_example_of_section_6_3(self) -> None:
        default = "urn:ietf:params:xml:ns:watcherinfo"
        first = b"""<watcher status="active"
             id="8ajksjda7s"
             duration-subscribed="509"
             event="approved">sip:userA@example.net</watcher>"""
        for text in (
            'watcherinfo/watcher-list/watcher[@id="8ajksjda7s"]',
            "watcherinfo/watcher-list/watcher[@id='8ajksjda7s']",
            "watcherinfo/watcher-list/watcher[1]",
            'watcherinfo/watcher-list/watcher[1][@id="8ajksjda7s"]',
            "watcherinfo/*/*[1]",
            '*/*/*[@event="approved"]',
        ):
            self.assertEqual(self.selected(WATCHERINFO, text, "", default), first, text)
        for text in (
            "watcherinfo/watcher-list/watcher",
            "watcherinfo/watcher-list/*",
            "watcherinfo/watcher-list/watcher[3]",
            "watcherinfo/watcher-list/watcher[0]",
            'watcherinfo/watcher-list/watcher[2][@id="8ajksjda7s"]',
            'watcherinfo/watcher-list/watcher[@id="other"]',
            'watcherinfo/watcher-list/watcher[@xmlns="urn:ietf:params:xml:ns:watcherinfo"]',
            'watcherinfo[@xmlns="urn:ietf:params:xml:ns:watcherinfo"]',
            "watcherinfo/watcher",
            "watcher-list",
            "watcherinfo/@missing",
        ):
            self.nothing(WATCHERINFO, text, "", default)
        self.nothing(WATCHERINFO, "watcherinfo/watcher-list")
        self.assertEqual(
            self.selected(WATCHERINFO, "watcherinfo/watcher-list/@package", "", default),
            b'"presence"',
        )

    def test_the_examples_of_section_6_4(self) -> None:
        one, two = b"<baz/>", b'<ns2:baz xmlns:ns2="urn:test:namespace2-uri"/>'
        for text, query, expected in (
            ("foo/a:bar/b:baz", AB + "xmlns(b=urn:test:namespace1-uri)", one),
            ("foo/a:bar/b:baz", AB + " xmlns(b=urn:test:namespace2-uri)", two),
            (
                "d:foo/a:bar/b:baz",
                AB + "xmlns(b=urn:test:namespace2-uri)xmlns(d=urn:test:default-namespace)",
                two,
            ),
        ):
            self.assertEqual(self.selected(FOO, text, query, DEFAULT), expected)
        self.nothing(FOO, "foo/bar/baz", "", DEFAULT)

    def test_namespace_bindings(self) -> None:
        """Section 10, where the RFC's text has a slip of the pen in one URI."""
        query = "xmlns(df=urn:test:default-namespace)xmlns(df2=urn:test:namespace1-uri)"
        self.assertEqual(
            self.selected(FOO, "df:foo/df2:bar/df2:baz/namespace::*", query, DEFAULT),
            b'<baz xmlns="urn:test:namespace1-uri" xmlns:ns1="urn:test:namespace1-uri"/>',
        )
        self.assertEqual(
            self.selected(
                FOO, "foo/x:hi/namespace::*", "xmlns(x=urn:test:namespace3-uri)", DEFAULT
            ),
            b'<ns3:hi xmlns="urn:test:default-namespace" xmlns:ns3="urn:test:namespace3-uri"/>',
        )

    def test_attributes_are_in_no_namespace_without_a_prefix(self) -> None:
        document = b'<a xmlns="u" xmlns:p="u" b="1" p:b="2" xml:lang="en"/>'
        self.assertEqual(self.selected(document, "a/@b", "", "u"), b'"1"')
        self.assertEqual(self.selected(document, "a/@q:b", "xmlns(q=u)", "u"), b'"2"')
        self.assertEqual(self.selected(document, "a/@xml:lang", "", "u"), b'"en"')
        self.assertEqual(self.selected(document, 'a[@q:b="2"]/@b', "xmlns(q=u)", "u"), b'"1"')

    def test_values_with_all_sorts_of_characters(self) -> None:
        one, two = '<b c="/ &amp;]&quot;ü&#x41;"/>'.encode(), b"<b c='\"'/>"
        document = b"<a>" + one + two + b"</a>"
        for text in ("/ &amp;]&quot;ü&#65;", "/ &#38;]&#34;üA"):
            self.assertEqual(self.selected(document, f'a/b[@c="{text}"]'), one)
        self.assertEqual(self.selected(document, "a/b[@c='\"']"), two)
        for text in ("&", "<", "&unknown;"):
            self.nothing(document, f'a/b[@c="{text}"]')


class ParsingTests(SynchronousTestCase):
    def test_steps(self) -> None:
        node = NodeSelector.parse('a/*[2]/p:b[1][@c="x"]/@d', "xmlns(p=urn:p)", "urn:d")
        self.assertEqual(
            node,
            NodeSelector(
                (
                    Step(("urn:d", "a")),
                    Step(None, 2),
                    Step(("urn:p", "b"), 1, (("", "c"), "x")),
                ),
                ("", "d"),
            ),
        )

    def test_what_is_not_known_is_not_found(self) -> None:
        for text in (
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a[",
            "a[]",
            "a[@b]",
            "a[b='c']",
            "a[@b=c]",
            "a[@b='c'][1]",
            "a[@b='c'][@d='e']",
            "a[1][2]",
            "a[last()]",
            "a[1234567890]",
            "a|b",
            "text()",
            "@a",
            "a/@b/c",
            "a/@b/@c",
            "a/@*",
            "a/namespace::*/b",
            "namespace::*",
            "a/namespace::x",
            "1a",
            "a:b:c",
            "/".join("a" * (MAX_STEPS + 1)),
        ):
            error = self.assertRaises(Refused, NodeSelector.parse, text, "", "")
            self.assertEqual(error.status, 404, text)
        NodeSelector.parse("/".join("a" * MAX_STEPS), "", "")

    def test_a_prefix_that_is_not_bound(self) -> None:
        for text in ("p:a", "a/p:b", "a/@p:b", "a[@p:b='c']"):
            error = self.assertRaises(Refused, NodeSelector.parse, text, "xmlns(q=urn:q)", "")
            self.assertEqual(error.status, 400)
            self.assertIn("'p' is not bound", error.detail)

    def test_bindings(self) -> None:
        xml = {"xml": "http://www.w3.org/XML/1998/namespace"}
        for query, expected in (
            ("", {}),
            ("xmlns(a=urn:a)", {"a": "urn:a"}),
            (" xmlns( a = urn:a ) \txmlns(b=urn:b)", {"a": "urn:a", "b": "urn:b"}),
            ("xmlns(a=x)xmlns(a=y)", {"a": "y"}),
            ("xmlns(a=x(y)z)", {"a": "x(y)z"}),
            ("xmlns(a=x^(y^^)", {"a": "x(y^"}),
            ("xpointer(id(x))xmlns(a=b)element(/1/2)", {"a": "b"}),
            ("xmlns(xml=u)", {}),
        ):
            self.assertEqual(parse_bindings(query), xml | expected, query)
        for query in (
            "a",
            "xmlns",
            "xmlns(",
            "xmlns(a",
            "xmlns(a)",
            "xmlns(=b)",
            "x=y",
            "xmlns(a=^)",
        ):
            self.assertEqual(self.assertRaises(Refused, parse_bindings, query).status, 400, query)
