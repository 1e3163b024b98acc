"""Who watches a conference, and what they are told (RFC 6665, RFC 4575)."""
