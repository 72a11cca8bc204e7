"""Migrations of the database schema, applied in order when a data folder is opened."""
