"""A small fictional commune: documents in four languages, and questions about them."""
