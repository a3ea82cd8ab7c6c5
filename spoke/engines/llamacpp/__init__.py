"""llama.cpp as an engine: each model in a child process of its own."""
