"""Unit tests of the LOG rules."""
