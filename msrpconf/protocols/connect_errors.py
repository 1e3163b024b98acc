"""Why a connection could not be made, in words."""

from __future__ import annotations

import os

from twisted.internet.error import ConnectError
from twisted.python.failure import Failure


def why_not_connected(failure: Failure) -> str:
    """The reason of a failure to connect, without Twisted's sentences and without a full stop."""
    error = failure.value
    if isinstance(error, ConnectError) and error.osError is not None:
        return os.strerror(error.osError)
    return failure.getErrorMessage().rstrip(".") or type(error).__name__
