"""What is run in this repository and not installed: pages, packages, locks."""
