"""Tests that need root and a kernel with network namespaces: each makes its own."""
