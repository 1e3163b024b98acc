"""The subcommands of `msrpconf`, a file each, and what they share.

Nothing here imports Twisted's reactor before a command runs: which one it is, the command says.
"""
