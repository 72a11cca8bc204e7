"""Parse: the bytes of a file become text with pages and headings.

Files come from anywhere, so no parser runs in the process that holds keys and rights: a
``Reader`` owns one child process without network, with little memory and little time.
"""

from casemate.library.parse.child import Confinement
from casemate.library.parse.extracted import Extracted, Heading, Limits, Page, Unreadable
from casemate.library.parse.formats import SUPPORTED
from casemate.library.parse.reader import Reader

__all__ = [
    "SUPPORTED",
    "Confinement",
    "Extracted",
    "Heading",
    "Limits",
    "Page",
    "Reader",
    "Unreadable",
]
