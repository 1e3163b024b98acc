from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.dispatch.records import (
    BATCH,
    CSEQ_GAP,
    Changes,
    DialogRecord,
    RecordError,
    batches,
    decode_changes,
    encode_changes,
)
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.headers import Reason
from tests.services.support import sip

REASON = Reason("SIP", 503, "The conference server has failed")


def record(number: int = 1, **changes: Any) -> DialogRecord:
    """The record of a dialog that an INVITE has begun."""
    invite = sip(
        "INVITE", "Record-Route: <sip:proxy.example.com;lr>", call_id=f"call-{number}", cseq=7
    )
    dialog = Dialog.from_request(invite, f"east.{number}")
    return evolve(
        DialogRecord.of(dialog, "sip:lobby@conf.example.com", "focus-1|udp/1/2/0"), **changes
    )


class RecordTests(SynchronousTestCase):
    def test_they_are_read_as_they_were_written(self) -> None:
        changes = Changes(
            (record(1), record(2, remote_tag=None)), (("c", "t", None), ("c", "t", "u"))
        )
        self.assertEqual(decode_changes(encode_changes(changes)), changes)
        self.assertEqual(decode_changes(encode_changes(Changes())), Changes())

    def test_what_a_later_version_tells_besides_is_left_out(self) -> None:
        document = json.loads(encode_changes(Changes((record(),))))
        document["dialogs"][0]["colour"] = "red"
        document["more"] = 1
        self.assertEqual(decode_changes(json.dumps(document).encode()), Changes((record(),)))

    def test_the_bye_to_the_client(self) -> None:
        bye = record(cseq=3).goodbye(REASON)
        self.assertEqual(bye.method, "BYE")
        self.assertEqual(str(bye.uri), "sip:alice@192.0.2.9:5070")
        self.assertEqual(bye.headers.get("Route"), "<sip:proxy.example.com;lr>")
        self.assertEqual((bye.from_.tag, bye.to.tag), ("east.1", "a1"))
        self.assertEqual(bye.call_id, "call-1")
        self.assertEqual(bye.cseq.number, 3 + CSEQ_GAP + 1)
        self.assertEqual(bye.headers.get("Reason"), str(REASON))
        self.assertEqual(record(cseq=2**31 - 1).goodbye(REASON).cseq.number, 2**31 - 1)

    def test_the_bye_to_the_server(self) -> None:
        bye = record().farewell(REASON)
        self.assertEqual((bye.from_.tag, bye.to.tag), ("a1", "east.1"))
        self.assertEqual(bye.cseq.number, 7 + CSEQ_GAP)
        self.assertIsNone(record(remote_tag=None).farewell(REASON).from_.tag)

    def test_what_cannot_be_read(self) -> None:
        good = json.loads(encode_changes(Changes((record(),))))["dialogs"][0]
        wrong: list[Any] = [
            [],
            {"dialogs": {}},
            {"dialogs": [1]},
            {"dialogs": [{}]},
            {"ended": [["a", "b"]]},
            {"ended": [["a", "b", 1]]},
            {"ended": ["abc"]},
        ]
        for key, value in (
            ("room", 1),
            ("call_id", "a\r\nEvil: x"),
            ("target", "not a URI"),
            ("local_uri", "<<"),
            ("routes", "abc"),
            ("routes", ["<sip:a>"] * 65),
            ("cseq", -1),
            ("cseq", "1"),
            ("way", "x" * 8193),
            ("remote_tag", 5),
        ):
            wrong.append({"dialogs": [{**good, key: value}]})
        for document in wrong:
            with self.assertRaises(RecordError, msg=str(document)):
                decode_changes(json.dumps(document).encode())
        for body in (b"", b"\xff", b"[" * 100000):
            with self.assertRaises(RecordError):
                decode_changes(body)

    # On a busy machine the first values take their time.
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.recursive(st.none() | st.integers() | st.text(), st.lists))
    def test_nothing_else_is_raised(self, value: Any) -> None:
        good = json.loads(encode_changes(Changes((record(),))))["dialogs"][0]
        for key in good:
            try:
                decode_changes(json.dumps({"dialogs": [{**good, key: value}]}).encode())
            except RecordError:
                pass

    def test_batches_fit_into_a_frame(self) -> None:
        records = [record(number) for number in range(2000)]
        groups = list(batches(records))
        self.assertGreater(len(groups), 2)
        self.assertEqual([each for group in groups for each in group], records)
        for group in groups:
            self.assertLess(len(encode_changes(Changes(group))), BATCH + 2000)
