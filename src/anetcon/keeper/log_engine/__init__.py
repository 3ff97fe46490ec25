"""The keeper's part of LOG engines: `rules` keeps them standing, `nflog` the kernel printing, `lines` the log read."""
