"""Where followers write: `text` the two text logs, of `lines`; `hashes` the file that lists namespaces."""
