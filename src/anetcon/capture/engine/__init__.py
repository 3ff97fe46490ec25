"""The engines, as capture runs them: where connections are learnt from.

base       what an engine does; every one is one of these
make       the engine that is configured
ct_events  conntrack's events, and its tables
log_lines  the kernel's lines of LOG rules
"""
