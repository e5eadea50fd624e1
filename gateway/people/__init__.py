"""Who may enter by name: people of a directory or of a trusted proxy, and their sessions in the browser."""
