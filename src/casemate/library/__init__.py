"""Library: what the platform knows. Collections, documents, passages, the index over them."""
