"""Handing over: a request that this process cannot answer is another process's to answer.

A worker (``casemate.server.workers``) answers what can be relayed and has no more of an
installation than that needs. Whatever a request turns out to need beyond it is found out on the
way, before anything was recorded, counted or said; then the request goes on, unchanged, to the
process that owns the data folder.
"""

from __future__ import annotations


class HandedOver(BaseException):  # nobody on the way may take it for an error and answer
    """This request is not for this process; nothing was done about it yet."""
