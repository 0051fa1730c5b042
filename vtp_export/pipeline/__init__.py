"""One file per command: specs in, report out, nothing printed."""
