"""Everything that decides, without I/O: what is there in, what to write and what to report out."""
