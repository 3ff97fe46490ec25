"""Tests, in tiers by what they need: unit nothing, netns root and a kernel, e2e the installed program."""
