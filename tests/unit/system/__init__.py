"""Unit tests of the keeper."""
