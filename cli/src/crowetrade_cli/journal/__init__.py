"""What the commands about journals share: rows, files and where a journal is read from."""
