"""SIP (RFC 3261): values, messages, transactions, dialogs and transports."""
