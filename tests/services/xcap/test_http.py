"""XCAP over HTTP (RFC 4825 §7, §8, §11, §12)."""

from __future__ import annotations

from importlib.resources import files

from lxml import etree
from twisted.internet.defer import Deferred, fail

from msrpconf.conference.settings import RoomSettings
from msrpconf.storage.errors import DatabaseError, NoSuchRoom
from msrpconf.xcap.ruleset import MAX_OCTETS, MAX_RULES
from msrpconf.xcap.store import ALLOW_ALL, TooManyDocuments
from tests.services.management.support import Reply
from tests.services.xcap.support import (
    ATTRIBUTE,
    AUTH_POLICY,
    CP,
    ELEMENT,
    INDEX,
    ROOM,
    XcapTestCase,
    at,
)
from tests.xcap.support import document, rule

ONE = '<one id="sip:bob@example.com"/>'
RULES = document(rule(f"<identity>{ONE}</identity>", name="a"), rule("", name="b"))
IDENTITY = 'cp:ruleset/cp:rule[@id="a"]/cp:conditions/cp:identity'


def schema(name: str) -> etree.XMLSchema:
    octets = (files("msrpconf.xcap") / "schemas" / name).read_bytes()
    return etree.XMLSchema(etree.fromstring(octets))


class DocumentTests(XcapTestCase):
    def test_made_fetched_replaced_and_deleted(self) -> None:
        self.refused(self.ask("GET"), 404, "there is no such document")
        made = self.put(RULES)
        self.assertEqual((made.status, made.body, made.headers["etag"]), (201, b"", '"tag1"'))
        got = self.ask("GET")
        self.assertEqual(
            (got.status, got.body, got.headers["etag"], got.headers["content-type"]),
            (200, RULES, '"tag1"', AUTH_POLICY),
        )
        self.assertEqual(got.headers["cache-control"], "no-store")
        replaced = self.put(ALLOW_ALL)
        self.assertEqual((replaced.status, replaced.body), (200, b""))
        self.assertEqual(replaced.headers["etag"], '"tag2"')
        gone = self.ask("DELETE")
        self.assertEqual(gone.status, 200)
        self.assertNotIn("etag", gone.headers)
        self.refused(self.ask("DELETE"), 404)

    def test_head(self) -> None:
        self.put(RULES)
        reply = self.ask("HEAD")
        self.assertEqual((reply.status, reply.body), (200, b""))
        self.assertEqual(reply.headers["content-length"], str(len(RULES)))

    def test_one_document_by_all_names_of_its_room(self) -> None:
        self.put(RULES)
        for xui in (
            "sip%3Aroom%40conf.example.com",
            "sips:room@CONF.example.com;x=y",
            "sip:%72oom@conf.example.com",
            "room@conf.example.com",
        ):
            reply = self.ask("GET", INDEX.replace(ROOM, xui))
            self.assertEqual((reply.status, reply.body), (200, RULES), xui)
        self.assertEqual(list(self.documents.stored), [INDEX])

    def test_of_the_open_mobile_alliance(self) -> None:
        """Their names without a prefix are of common policy."""
        target = f"/xcap-root/org.openmobilealliance.pres-rules/users/{ROOM}/pres-rules"
        self.assertEqual(self.put(RULES, target).status, 201)
        reply = self.ask("GET", at('ruleset/rule[@id="b"]/@id', "", target))
        self.assertEqual((reply.status, reply.body), (200, b'"b"'))

    def test_names(self) -> None:
        target = f"/xcap-root/pres-rules/users/{ROOM}/my%20rules.xml"
        self.assertEqual(self.put(RULES, target).status, 201)
        self.assertEqual(list(self.documents.stored), [target])
        self.assertEqual(self.ask("GET", target).status, 200)

    def test_what_is_not_there(self) -> None:
        for target in (
            "/",
            "/xcap-root",
            "/xcap-root/",
            "/xcap",
            "/xcap-root/resource-lists/users/sip:a@b/index",
            "/xcap-root/pres-rules",
            "/xcap-root/pres-rules/global/index",
            "/xcap-root/pres-rules/users",
            f"/xcap-root/pres-rules/users/{ROOM}",
            f"/xcap-root/pres-rules/users/{ROOM}/",
            f"/xcap-root/pres-rules/users/{ROOM}/folder/index",
            "/xcap-root/pres-rules/users/sip:other@conf.example.com/index",
            "/xcap-root/pres-rules/users/not%20a%20uri/index",
            "/xcap-root/pres-rules/users/tel:+1/index",
            f"/xcap-root/pres-rules/users/{ROOM}/{'x' * 250}",
            "/xcap-root/xcap-caps/users/sip:a@b/index",
        ):
            self.refused(self.ask("GET", target), 404)
            # Before anybody was asked who it is (§8).
            self.refused(self.ask("GET", target, who=""), 404)

    def test_folders_cannot_be_made(self) -> None:
        target = f"/xcap-root/pres-rules/users/{ROOM}/folder/index"
        self.conflict(self.put(RULES, target), "no-parent")

    def test_a_room_whose_uri_is_too_long(self) -> None:
        key = f"sip:{'a' * 65}@conf.example.com"
        self.registry.room(key, key, RoomSettings())
        self.refused(self.ask("GET", INDEX.replace(ROOM, key)), 404, "too long")

    def test_methods(self) -> None:
        for method in ("POST", "PATCH", "OPTIONS", "X"):
            reply = self.ask(method)
            self.refused(reply, 405)
            self.assertEqual(reply.headers["allow"], "GET, HEAD, PUT, DELETE")

    def test_media_types(self) -> None:
        for kind in ("application/xml", ELEMENT, "text/plain", ""):
            self.refused(self.put(RULES, INDEX, kind), 415, f"expected {AUTH_POLICY}")
        self.refused(self.ask("PUT", INDEX, RULES), 415)
        reply = self.put(RULES, INDEX, "Application/Auth-Policy+XML; charset=utf-8")
        self.assertEqual(reply.status, 201)
        self.refused(self.put(b"<a/>", at(IDENTITY), AUTH_POLICY), 415, ELEMENT)
        self.refused(self.put(b"'a'", at(f"{IDENTITY}/@a"), ELEMENT), 415, ATTRIBUTE)

    def test_a_body_that_is_too_long(self) -> None:
        reply = self.put(RULES + b" " * MAX_OCTETS)
        self.conflict(reply, "not-well-formed")
        self.assertIn(b"octets at most", reply.body)


class ConflictTests(XcapTestCase):
    """Of each condition of §11.1 one or more; each report is as its schema has it."""

    def conflict(self, reply: Reply, condition: str) -> object:
        found = super().conflict(reply, condition)
        schema("xcap-error.xsd").assertValid(etree.fromstring(reply.body))
        return found

    def test_documents(self) -> None:
        latin = RULES.replace(b"sip:bob", "sip:b\u00f6b".encode("latin-1"))
        for body, condition in (
            (b"", "not-well-formed"),
            (b"<ruleset", "not-well-formed"),
            (RULES + b"<a/>", "not-well-formed"),
            (b"<!DOCTYPE a>" + RULES, "not-well-formed"),
            (b"<a>" * 300 + b"</a>" * 300, "not-well-formed"),
            (latin, "not-utf-8"),
            (b'<?xml version="1.0" encoding="ISO-8859-1"?>' + RULES, "not-utf-8"),
            (RULES.decode().encode("utf-16"), "not-utf-8"),
            (b"<a/>", "schema-validation-error"),
            (
                b'<sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">allow</sub-handling>',
                "schema-validation-error",
            ),
            (document("<rule/>"), "schema-validation-error"),
            (document("<x/>"), "schema-validation-error"),
            (document(rule("<identity/>")), "schema-validation-error"),
            (document(rule("", "permit")), "schema-validation-error"),
            (document(rule("").replace("sub-handling", "sub-x")), "schema-validation-error"),
            (document(rule(""), rule("")), "uniqueness-failure"),
            (document(*(f'<rule id="r{n}"/>' for n in range(MAX_RULES + 1))), "constraint-failure"),
        ):
            self.conflict(self.put(body), condition)
            self.assertEqual(self.documents.stored, {}, body[:60])

    def test_what_is_unknown_and_allowed(self) -> None:
        """§8.2.5: elements of namespaces that the server does not know."""
        self.assertEqual(self.put(document(rule('<mood xmlns="urn:x">good</mood>'))).status, 201)

    def test_nodes(self) -> None:
        self.conflict(self.put(b"<a/>", at("cp:ruleset/cp:rule"), ELEMENT), "no-parent")
        self.put(RULES)
        identity, one = at(IDENTITY), at(f"{IDENTITY}/cp:one")
        for body, target, kind, condition in (
            (b"<a/>", at("cp:ruleset/cp:x/cp:y"), ELEMENT, "no-parent"),
            (b"<a/>", at("cp:ruleset/cp:rule"), ELEMENT, "cannot-insert"),
            (b"<one", one, ELEMENT, "not-xml-frag"),
            (b"<one id='\xff'/>", one, ELEMENT, "not-utf-8"),
            (b"<cr:many/>", one, ELEMENT, "cannot-insert"),
            (b"<identity/>", identity, ELEMENT, "schema-validation-error"),
            (b"<one/>", one, ELEMENT, "schema-validation-error"),
            (b"<", at(f"{IDENTITY}/cp:one/@id"), ATTRIBUTE, "not-xml-att-value"),
            (b"x", at(f"{IDENTITY}/cp:one/@other"), ATTRIBUTE, "schema-validation-error"),
            (b"b", at("cp:ruleset/cp:rule[1]/@id"), ATTRIBUTE, "uniqueness-failure"),
            (b"x", at('cp:ruleset/cp:rule[@id="a"]/@id'), ATTRIBUTE, "cannot-insert"),
            (
                b"<one id='sip:a@b'>" + b" " * MAX_OCTETS + b"</one>",
                one,
                ELEMENT,
                "constraint-failure",
            ),
        ):
            self.conflict(self.put(body, target, kind), condition)
        for target, condition in (
            (one, "schema-validation-error"),
            (at(f"{IDENTITY}/cp:one/@id"), "schema-validation-error"),
            (at("cp:ruleset"), "schema-validation-error"),
            (at("cp:ruleset/cp:rule[1]"), "cannot-delete"),
        ):
            self.conflict(self.ask("DELETE", target), condition)
        self.assertEqual(self.documents.stored[INDEX].document, RULES)

    def test_what_is_not_unique_is_named(self) -> None:
        reply = self.put(document(rule(""), rule("")))
        exists = etree.fromstring(reply.body)[0][0]
        self.put(RULES)
        target = f"{INDEX}/~~/{exists.get('field')}"
        self.assertEqual(self.ask("GET", target).body, b'"b"')

    def test_one_line_in_the_log(self) -> None:
        self.put(b"<a/>")
        (line,) = self.lines
        self.assertIn(f"xcap: PUT {INDEX} of 192.168.1.1: 409 schema-validation-error: ", line)

    def test_too_many_documents(self) -> None:
        def full(*_: object) -> Deferred[None]:
            return fail(TooManyDocuments("16"))

        self.patch(self.documents, "change", full)
        self.conflict(self.put(RULES), "constraint-failure")


class NodeTests(XcapTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.put(RULES)

    def test_an_element(self) -> None:
        target = at(f'{IDENTITY}/cp:one[@id="sip:carol@example.com"]')
        self.refused(self.ask("GET", target), 404, "no such node")
        body = b'<one id="sip:carol@example.com"/>'
        made = self.put(body, target, ELEMENT)
        self.assertEqual((made.status, made.headers["etag"]), (201, '"tag2"'))
        self.assertEqual(
            self.documents.stored[INDEX].document,
            RULES.replace(ONE.encode(), ONE.encode() + body),
        )
        got = self.ask("GET", target)
        self.assertEqual((got.status, got.body), (200, body))
        self.assertEqual(got.headers["content-type"], ELEMENT)
        self.assertEqual(got.headers["etag"], '"tag2"')
        self.assertEqual(self.put(body, target, ELEMENT).status, 200)
        gone = self.ask("DELETE", target)
        self.assertEqual((gone.status, gone.headers["etag"]), (200, '"tag4"'))
        self.assertEqual(self.documents.stored[INDEX].document, RULES)
        self.refused(self.ask("DELETE", target), 404)

    def test_an_attribute(self) -> None:
        target = at(f"{IDENTITY}/cp:one/@id")
        got = self.ask("GET", target)
        self.assertEqual(
            (got.body, got.headers["content-type"]), (b'"sip:bob@example.com"', ATTRIBUTE)
        )
        self.assertEqual(self.put(b'"sip:carol@example.com"', target, ATTRIBUTE).status, 200)
        self.assertEqual(self.ask("GET", target).body, b'"sip:carol@example.com"')

    def test_the_namespaces(self) -> None:
        target = at(f"{IDENTITY}/namespace::*")
        got = self.ask("GET", target)
        self.assertEqual(got.headers["content-type"], "application/xcap-ns+xml")
        self.assertEqual(
            got.body,
            b'<identity xmlns="urn:ietf:params:xml:ns:common-policy"'
            b' xmlns:pr="urn:ietf:params:xml:ns:pres-rules"'
            b' xmlns:cr="urn:ietf:params:xml:ns:common-policy"/>',
        )
        for reply in (self.put(b"<x/>", target, ELEMENT), self.ask("DELETE", target)):
            self.refused(reply, 405)
            self.assertEqual(reply.headers["allow"], "GET, HEAD")

    def test_names_without_a_prefix_are_of_presence_rules(self) -> None:
        got = self.ask("GET", at("cp:ruleset/cp:rule[1]/cp:actions/sub-handling"))
        self.assertEqual(got.body, b"<pr:sub-handling>allow</pr:sub-handling>")

    def test_encodings_of_a_uri(self) -> None:
        for target in (
            at(f"{IDENTITY}/cp:one"),
            at(f"{IDENTITY}/cp:one").replace("~~", "%7E%7e"),
            at(f"{IDENTITY}/*[1]"),
            at(IDENTITY.replace('"', "'") + "/cp:one"),
            at(f"{IDENTITY}/cp:one", f"xpointer(/x){CP}"),
        ):
            self.assertEqual(self.ask("GET", target).body, ONE.encode(), target)

    def test_prefixes_that_are_not_bound(self) -> None:
        for query in ("", "xmlns(other=urn:x)", "xmlns(cp", "%ff"):
            target = at(IDENTITY, "") + (query and f"?{query}")
            for reply in (self.ask("GET", target), self.put(b"<a/>", target, ELEMENT)):
                self.refused(reply, 400)

    def test_selectors_that_are_not_known(self) -> None:
        for selector in ("cp:ruleset[last()]", "", "cp:ruleset//cp:rule", "id('a')"):
            for method in ("GET", "PUT", "DELETE"):
                self.refused(self.ask(method, at(selector)), 404)


class ConditionTests(XcapTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.put(RULES)
        self.one = at(f"{IDENTITY}/cp:one")

    def test_reading(self) -> None:
        for target in (INDEX, self.one):
            for tags in ('"tag1"', '"x", "tag1"', 'W/"tag1"', "*"):
                reply = self.ask("GET", target, headers=(f"If-None-Match: {tags}",))
                self.assertEqual((reply.status, reply.body), (304, b""), tags)
                self.assertEqual(reply.headers["etag"], '"tag1"')
            for tags in ('"tag2"', "tag1", '"tag1', '"tag"'):
                reply = self.ask("GET", target, headers=(f"If-None-Match: {tags}",))
                self.assertEqual(reply.status, 200, tags)
            self.assertEqual(self.ask("GET", target, headers=('If-Match: "x"',)).status, 412)

    def test_writing(self) -> None:
        for target, kind, body in ((INDEX, AUTH_POLICY, RULES), (self.one, ELEMENT, ONE.encode())):
            for header in (
                'If-Match: "x"',
                'If-Match: W/"{}"',
                "If-None-Match: *",
                'If-None-Match: "{}"',
            ):
                tag = self.documents.stored[INDEX].etag
                reply = self.put(body, target, kind, header.format(tag))
                self.refused(reply, 412)
                self.assertEqual(self.documents.stored[INDEX].etag, tag)
            for header in ("If-Match: *", 'If-Match: "a", "{}"', 'If-None-Match: "x"'):
                tag = self.documents.stored[INDEX].etag
                self.assertEqual(self.put(body, target, kind, header.format(tag)).status, 200)

    def test_deleting(self) -> None:
        self.refused(self.ask("DELETE", headers=('If-Match: "x"',)), 412)
        self.assertEqual(self.ask("DELETE", headers=('If-Match: "tag1"',)).status, 200)
        self.refused(self.ask("DELETE", headers=("If-Match: *",)), 412)

    def test_only_if_it_is_not_there(self) -> None:
        other = f"/xcap-root/pres-rules/users/{ROOM}/other"
        self.refused(self.put(RULES, other, AUTH_POLICY, "If-Match: *"), 412)
        self.assertEqual(self.put(RULES, other, AUTH_POLICY, "If-None-Match: *").status, 201)
        self.refused(self.put(RULES, other, AUTH_POLICY, "If-None-Match: *"), 412)


class CapabilitiesTests(XcapTestCase):
    target = "/xcap-root/xcap-caps/global/index"

    def test_what_is_supported(self) -> None:
        reply = self.ask("GET", self.target)
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.headers["content-type"], "application/xcap-caps+xml")
        root = etree.fromstring(reply.body)
        schema("xcap-caps.xsd").assertValid(root)
        words = [each.text for each in root.iter() if each.text and each.text.strip()]
        self.assertEqual(
            words,
            [
                "xcap-caps",
                "pres-rules",
                "org.openmobilealliance.pres-rules",
                "urn:ietf:params:xml:ns:xcap-caps",
                "urn:ietf:params:xml:ns:common-policy",
                "urn:ietf:params:xml:ns:pres-rules",
            ],
        )
        tag = reply.headers["etag"]
        again = self.ask("GET", self.target, headers=(f"If-None-Match: {tag}",))
        self.assertEqual(again.status, 304)

    def test_parts_of_it(self) -> None:
        reply = self.ask("GET", at("xcap-caps/auids/auid[1]", "", self.target))
        self.assertEqual(reply.body, b"<auid>xcap-caps</auid>")

    def test_nobody_changes_it(self) -> None:
        for method in ("PUT", "DELETE"):
            reply = self.ask(method, self.target)
            self.refused(reply, 405)
            self.assertEqual(reply.headers["allow"], "GET, HEAD")


class TroubleTests(XcapTestCase):
    def test_the_database_is_away(self) -> None:
        def away(*_: object) -> Deferred[None]:
            return fail(DatabaseError("database postgresql://secret: away"))

        self.patch(self.documents, "get", away)
        self.patch(self.documents, "change", away)
        for reply in (self.ask("GET"), self.put(RULES), self.ask("DELETE")):
            self.refused(reply, 503, "try again later")
            self.assertEqual(reply.headers["retry-after"], "10")
            self.assertNotIn(b"secret", reply.body)

    def test_the_room_has_ended_meanwhile(self) -> None:
        self.patch(self.documents, "change", lambda *_: fail(NoSuchRoom("x has ended")))
        self.refused(self.put(RULES), 404, "has ended")

    def test_a_document_in_the_table_that_is_none(self) -> None:
        self.put(RULES)
        stored = self.documents.stored[INDEX]
        object.__setattr__(stored, "document", b"<nonsense")
        self.assertEqual(self.ask("GET").body, b"<nonsense")
        self.refused(self.ask("GET", at("cp:ruleset")), 404, "cannot be read")
        self.conflict(self.put(b"<a/>", at("cp:ruleset"), ELEMENT), "no-parent")
        self.assertEqual(self.put(RULES).status, 200)

    def test_a_fault_is_told_without_a_traceback(self) -> None:
        self.patch(self.documents, "get", lambda uri: 1 / 0)
        self.refused(self.ask("GET"), 500, "the server has a fault")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
