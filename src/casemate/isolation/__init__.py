"""A process that reaches nothing but what it was given; imports the standard library only."""

from casemate.isolation.interpreter import interpreter_files
from casemate.isolation.layers import LAYERS, Isolation, Wants, isolate
from casemate.isolation.proof import Attempt, prove

__all__ = ["LAYERS", "Attempt", "Isolation", "Wants", "interpreter_files", "isolate", "prove"]
