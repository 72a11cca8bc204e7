"""Casemate: open reasoning models inside your own walls, with proof."""

__version__ = "0.1.0"
