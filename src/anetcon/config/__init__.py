"""The configuration: `model` says what there is, `load` reads it."""
