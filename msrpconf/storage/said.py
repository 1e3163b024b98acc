"""A message of a room's history as the database has it: its head is JSON."""

from __future__ import annotations

import json

from msrpconf.conference.history import Said
from msrpconf.conference.rendition import Speaker
from msrpconf.storage.history import StoredMessage


def write_said(said: Said) -> StoredMessage:
    """A message as it is stored."""
    speaker = said.speaker
    head = {
        "uri": speaker.uri,
        "name": speaker.name,
        "label": speaker.label,
        "said_at": said.said_at,
        "type": said.content_type,
        "headers": said.content_headers,
    }
    return StoredMessage(said.at, json.dumps(head).encode("ascii"), said.content)


def read_said(stored: StoredMessage) -> Said:
    """A message as it was said. Raises `ValueError` for what `write_said` did not write."""
    try:
        head = json.loads(stored.head)
        label = head["label"]
        name = head["name"]
        texts = (head["uri"], label, head["said_at"], head["type"], "" if name is None else name)
        headers = tuple((name, value) for name, value in head["headers"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"its head is not ours: {error!r}") from None
    if not all(isinstance(each, str) for each in (*texts, *sum(headers, ()))):
        raise ValueError("its head is not ours: expected texts")
    speaker = Speaker(head["uri"], name, label, f"{label}: ".encode())
    return Said(speaker, stored.at, head["said_at"], head["type"], headers, stored.content)
