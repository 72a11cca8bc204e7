"""Bundles: models, documents and policies that cross an air gap in one file, vouched for by two."""
