"""Multi-party chat rooms for SIP: an MSRP conference server on Twisted.

What `__all__` names here, and in the modules that doc/embedding.md lists, is for other programs
to use, and stays as it is within a major version. All else is private to the project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msrpconf.config import Config, ConfigError
    from msrpconf.services.compose import ConferenceService, make_service
    from msrpconf.trace import Tracer

__version__ = "0.1.0"

__all__ = [
    "ConferenceService",
    "Config",
    "ConfigError",
    "Tracer",
    "__version__",
    "make_service",
]

_WHERE = {
    "ConferenceService": "msrpconf.services.compose",
    "Config": "msrpconf.config",
    "ConfigError": "msrpconf.config",
    "Tracer": "msrpconf.trace",
    "make_service": "msrpconf.services.compose",
}


def __getattr__(name: str) -> object:
    # Found when it is asked for: who wants a codec alone does not load the services.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
