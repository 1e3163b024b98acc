"""XCAP (RFC 4825) as a service: documents of rooms over HTTP, for who owns the rooms."""

from msrpconf.services.xcap.service import XcapService

__all__ = ["XcapService"]
