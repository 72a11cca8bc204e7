"""Oversight: who watches."""
