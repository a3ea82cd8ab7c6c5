"""What the spoke decides, as pure functions and tables: no clock, no socket, no wire."""
