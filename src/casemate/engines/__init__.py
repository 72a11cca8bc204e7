"""Engines: what thinks. One protocol; ``quote`` never generates, ``remote`` asks a model server."""
