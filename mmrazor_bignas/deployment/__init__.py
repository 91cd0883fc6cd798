"""A searched network in use: files for other runtimes, and predictions from files."""
