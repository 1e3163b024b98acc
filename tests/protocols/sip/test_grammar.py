"""What URIs and header values share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip import grammar
from msrpconf.protocols.sip.errors import SipSyntaxError


class ListTests(SynchronousTestCase):
    def test_commas_in_quotes_and_brackets_do_not_split(self) -> None:
        self.assertEqual(
            grammar.split_list(' "a,\\",b" <x,y> , c\t,, d '), ['"a,\\",b" <x,y>', "c", "", "d"]
        )

    def test_unclosed(self) -> None:
        for text in ('a,"b', "a,<b", 'a,"b\\"', '"a\r\n",b'):
            self.assertRaises(SipSyntaxError, grammar.split_list, text)

    def test_tokens(self) -> None:
        self.assertEqual(grammar.parse_token_list(" a ,b, ,c,"), ["a", "b", "c"])
        self.assertEqual(grammar.parse_token_list(""), [])
        for text in ("a b", "a;b", "<a>", "é"):
            self.assertRaises(SipSyntaxError, grammar.parse_token_list, text)


class QuotingTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        for text in ("", "plain", 'a "b" \\c', "\0\x07\x7f", "tab\there", "大停電"):
            self.assertEqual(grammar.unquote_string(grammar.quote_string(text)), text)

    def test_controls_are_escaped(self) -> None:
        """RFC 3261 section 25.1: they are no qdtext."""
        self.assertEqual(grammar.quote_string("a\0b"), '"a\\\0b"')

    def test_line_breaks_cannot_be_quoted(self) -> None:
        for text in ("a\nb", "a\rb"):
            self.assertRaises(SipSyntaxError, grammar.quote_string, text)


class ParameterTests(SynchronousTestCase):
    def test_read_and_changed(self) -> None:
        parameters = grammar.parse_parameters(' ; a = 1;B ;c="x;y" ')
        self.assertEqual(parameters, (("a", "1"), ("B", None), ("c", "x;y")))
        self.assertEqual(grammar.get_parameter(parameters, "A"), "1")
        self.assertTrue(grammar.has_parameter(parameters, "b"))
        self.assertIsNone(grammar.get_parameter(parameters, "b"))
        changed = grammar.set_parameter(grammar.drop_parameters(parameters, ["A"]), "b", "2")
        self.assertEqual(grammar.format_parameters(changed), ';B=2;c="x;y"')

    def test_values_that_need_quotes_get_them(self) -> None:
        self.assertEqual(
            grammar.format_parameters((("a", "x y"), ("b", ""), ("c", "[::1]:5"))),
            ';a="x y";b="";c=[::1]:5',
        )


class NumberTests(SynchronousTestCase):
    def test_bounds(self) -> None:
        self.assertEqual(grammar.parse_number("00070", 255), 70)
        self.assertEqual(grammar.parse_number("0", 255), 0)
        for text in ("", "256", "-1", "+1", "1_0", " 1", "٣", "9" * 5000):
            self.assertRaises(SipSyntaxError, grammar.parse_number, text, 255)
