"""Tests of the testbed that need no namespace."""
