"""Tests of the command line, in process."""
