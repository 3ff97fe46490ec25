"""See the package docstring of `anetcon`."""
