"""Reasoning: a run, from question to steps to answer to receipt."""
