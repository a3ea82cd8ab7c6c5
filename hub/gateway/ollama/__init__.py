"""Ollama's dialect: chat, generate, vectors, models, and pulls."""
