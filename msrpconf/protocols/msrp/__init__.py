"""MSRP (RFC 4975): URIs, frames, sessions and connections."""
