"""Constant traffic while parts are killed, and a ledger of what became of each message.

``make soak`` runs it; doc/distributed.md has the rules by which something may be lost.
"""
