"""The keeper's part of LOG engines: `rules` keeps them standing, `nf_log` the kernel printing, `kernel_log` is read."""
