"""Tests that drive the installed program, as root, in namespaces of their own."""
