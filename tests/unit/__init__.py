"""Tests that need nothing: they mirror src/anetcon."""
