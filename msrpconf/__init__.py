"""Multi-party chat rooms for SIP: an MSRP conference server on Twisted."""

__version__ = "0.1.0"
