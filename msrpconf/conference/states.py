"""The state of conferences, as who tells watchers of it sees it (RFC 4575).

    rooms of this process      --\\
                                  > ConferenceStates --> who answers SUBSCRIBE
    documents that were PUBLISHed --/

A `Change` says what is different, not how: a document is made of what is there when it is
made. So changes can be collected, and many of them become one document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from msrpconf.protocols.conference_info import (
    ConferenceState,
    Description,
    description_element,
    document,
    state_element,
    users_element,
)


@frozen
class Change:
    """What is different in a conference: users by the `entity` of their element.

    `users_changed` have another element, or are new; `users_deleted` have none any more.
    """

    users_changed: frozenset[str] = frozenset()
    users_deleted: frozenset[str] = frozenset()
    description_changed: bool = False
    """<conference-description>: what the room is about, and its limits."""
    state_changed: bool = False
    """<conference-state>: how many are in it, whether it is locked."""

    def __bool__(self) -> bool:
        return bool(
            self.users_changed
            or self.users_deleted
            or self.description_changed
            or self.state_changed
        )

    def then(self, later: Change) -> Change:
        """This change and a `later` one in one."""
        return Change(
            (self.users_changed - later.users_deleted) | later.users_changed,
            (self.users_deleted - later.users_changed) | later.users_deleted,
            self.description_changed or later.description_changed,
            self.state_changed or later.state_changed,
        )


class ConferenceInfo(Protocol):
    """One conference: makes conference-info documents of its state at that moment.

    `version` is the subscription's own count of documents (§5.2), from 0 to 2**32 - 1.
    Documents are UTF-8.
    """

    @property
    def uri(self) -> str:
        """The conference URI, the `entity` of its documents."""

    def full(self, version: int) -> bytes:
        """All of the state (§4.4: ``state="full"``)."""

    def partial(self, change: Change, version: int) -> bytes:
        """What has changed, as it is now (``state="partial"``)."""

    def summary(self, version: int) -> bytes:
        """All of the state but for who is there: a full document with no users.

        For watchers who may not see the others. The number of users is the true one.
        """

    def has_user(self, key: str) -> bool:
        """Whether the user with this URI, in its canonical form, is in the conference.

        Also one who is there under an anonymous URI: this is for deciding about a watcher,
        not for telling anybody.
        """

    def has_owner(self, key: str) -> bool:
        """The same of users who are there as owners of it."""


Watcher = Callable[[str, ConferenceInfo, Change | None], None]
"""Told of a conference's key, its state, and what has changed; None: it has ended."""


class ConferenceStates(Protocol):
    """Finds conferences by their key, the canonical form of their URI."""

    def find(self, key: str) -> ConferenceInfo | None:
        """The conference, if there is one just now."""

    def watch(self, watcher: Watcher) -> None:
        """Have `watcher` told of every change of every conference, also of new ones.

        It is told at once, from within what made the change: it only notes it, and makes
        documents later. A new conference is a change like others.
        """


def empty_document(uri: str, version: int) -> bytes:
    """A full document of a conference in which nobody is any more, for who keeps documents."""
    parts = (
        description_element(Description()),
        state_element(ConferenceState(0, False)),
        users_element(()),
    )
    return document(uri, "full", version, parts)


def ended_document(uri: str, version: int) -> bytes:
    """The last document of a conference that has ended (§4.6: ``state="deleted"``)."""
    return document(uri, "deleted", version)
