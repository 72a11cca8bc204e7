"""Lab: how answers are studied."""
