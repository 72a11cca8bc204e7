"""The shipped policies and their schema: data."""
