"""The command line: how operators reach in.

Every command is an act: a small function over an opened installation. If a server runs on the
data folder the act happens there, reached over a Unix socket inside the folder; otherwise here.
"""
