"""The description is what the service does: schemathesis asks for everything in it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.settings import RoomSettings
from msrpconf.overrides import write_overrides
from msrpconf.services.management.dispatcher_operations import DISPATCHER
from msrpconf.services.management.focus_api import FOCUS
from msrpconf.services.management.openapi import describe
from msrpconf.services.management.operations import SERVER
from msrpconf.services.management.schemas import SCHEMAS, SETTINGS
from tests.processes import ProcessCase, Program

Story = Generator[Deferred[Any], Any, None]

EXAMPLES = 10
"""Requests that are made up for each operation, besides those at the edges of its schemas."""

SETTINGS_OF_SERVER = """
[management]
listen = "127.0.0.1:0"
[database]
url = "sqlite://"
"""


class DescriptionTests(SynchronousTestCase):
    def test_the_schemas_are_schemas(self) -> None:
        others = (*DISPATCHER.schemas.items(), *FOCUS.schemas.items())
        for name, schema in (*SCHEMAS.items(), *others):
            try:
                Draft202012Validator.check_schema(schema)
            except SchemaError as error:
                self.fail(f"{name}: {error}")

    def test_every_setting_of_a_room_is_there_with_a_schema_for_its_default(self) -> None:
        defaults = write_overrides({name: getattr(RoomSettings(), name) for name in SETTINGS})
        self.assertEqual(SETTINGS.keys(), set(RoomSettings.__annotations__))
        for name, value in defaults.items():
            Draft202012Validator(SETTINGS[name]).validate(value)

    def test_operations_are_named_once(self) -> None:
        for each in (SERVER.operations, DISPATCHER.operations, FOCUS.operations):
            self.assertEqual(len({one.id for one in each}), len(each))
            self.assertEqual(len({(one.method, one.path) for one in each}), len(each))

    def test_a_token_is_said_to_be_needed_where_it_is(self) -> None:
        self.assertNotIn("security", describe(secured=False))
        described = describe(secured=True)
        self.assertEqual(described["security"], [{"token": []}])
        self.assertEqual(described["paths"]["/healthz"]["get"]["security"], [])


class SchemathesisTests(ProcessCase):
    timeout = 120

    @inlineCallbacks
    def test_the_service_is_as_described(self) -> Story:
        """No answer is a fault of the server's, or other than its description has it.

        What is generated is the same each time, and bounded.
        """
        server, _ = yield self.start_server(settings=SETTINGS_OF_SERVER)
        yield self.checked(server, r"\d{3,} generated")

    @inlineCallbacks
    def test_a_dispatcher_is_as_described(self) -> Story:
        _, focus = yield self.start_focus_and_server(more='[management]\nlisten = "127.0.0.1:0"\n')
        yield self.checked(focus, r"\d{2,} generated")

    @inlineCallbacks
    def checked(self, server: Program, generated: str) -> Story:
        """Ask for all that `server` describes, and end it."""
        found = yield server.shows(r"management at (http://\S+?):? ")
        checker = self._spawn(
            "schemathesis",
            "-c",
            "from schemathesis.cli import schemathesis; schemathesis()",
            "run",
            f"{found[1].rstrip(':')}/openapi.json",
            "--phases=examples,coverage,fuzzing",
            f"--max-examples={EXAMPLES}",
            "--generation-deterministic",
            # Which rooms there are, a schema cannot say.
            "--exclude-checks=positive_data_acceptance",
            "--continue-on-failure",
            "--no-shrink",
            "--no-color",
        )
        yield checker.ended
        self.assertEqual(checker.status, 0, str(checker))
        self.assertRegex(checker.output, generated)
        self.assertNotIn("Traceback", server.output)
        server.signals("TERM")
        yield server.ends()
        self.assertEqual(server.status, 0, sys.executable)
