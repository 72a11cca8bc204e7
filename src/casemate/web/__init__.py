"""The web: pages for people, rendered on the server, with as little script as they need.

``routes`` gives the pages of one installation, ``errors`` the page for whatever goes wrong.
"""

from casemate.web import errors
from casemate.web.routes import routes

__all__ = ["errors", "routes"]
