"""What client and server transactions have in common: the names of states, careful calls."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ParamSpec

from twisted.logger import Logger

_log = Logger()
_P = ParamSpec("_P")


class State(enum.Enum):
    """The states of transactions, under the names of RFC 3261 section 17 and RFC 6026."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


def call_hook(hook: Callable[_P, None], *arguments: _P.args, **named: _P.kwargs) -> None:
    """Calls a hook of the TU; what it raises is logged, and harms no other transaction."""
    try:
        hook(*arguments, **named)
    except Exception:
        _log.failure("a hook of a SIP transaction failed")
