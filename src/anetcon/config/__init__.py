"""The configuration: `model` says what there is, `load` reads it; `old/` reads that of the bash ANetCon."""
