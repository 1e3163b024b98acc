"""The operations on who watches a room, and may."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.conference.identity import Identity
from msrpconf.conference.operating import find_room, one_user
from msrpconf.conference.policy import may_stay
from msrpconf.services.management import views
from msrpconf.services.management.http import Answer
from msrpconf.services.management.parts import Parts
from msrpconf.services.management.problem import Problem
from msrpconf.services.management.router import Asked
from msrpconf.services.watch_decisions import decide

ELSEWHERE = "who watches is known to the presence agent, which is not in this process"

NO_DOCUMENTS = (
    "this server keeps nothing of who may watch: write [database] into its configuration, and"
    " start it again"
)


class WatchersApi:
    """The operations on watchers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def watchers(self, asked: Asked) -> Answer:
        """Who watches a room."""
        room = find_room(self._parts.registry, asked.path["room"])
        presence = self._parts.presence
        if presence is None:
            raise Problem(409, ELSEWHERE)
        everybody = presence.agent.watchers.identified(room.key)
        after, limit = asked.query["after"], asked.query["limit"]
        start = 0
        if after is not None:
            ids = [each.id for _, each in everybody]
            if after not in ids:
                raise Problem(400, "after: they watch no more; begin again without it")
            start = ids.index(after) + 1
        page = everybody[start : start + limit]
        more = start + limit < len(everybody)
        return Answer(
            {
                "watchers": [views.watcher(*each) for each in page],
                "total": len(everybody),
                "next": page[-1][1].id if more else None,
            }
        )

    @inlineCallbacks
    def decide_watcher(self, asked: Asked) -> Generator[Deferred[Any], Any, Answer]:
        """Let a user watch, or not."""
        room = find_room(self._parts.registry, asked.path["room"])
        documents = self._parts.documents
        if documents is None:
            raise Problem(409, NO_DOCUMENTS)
        user = one_user(asked.path["user"])
        handling = yield decide(documents, room, user, asked.body["allowed"])
        barred = may_stay(room, Identity(user, None, (user,)))
        return Answer(
            {
                "user": user,
                "handling": str(handling),
                "barred": None if barred is None else barred.reason,
            }
        )
