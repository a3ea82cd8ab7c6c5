"""Ollama as an engine: found by itself, asked through its own package."""
