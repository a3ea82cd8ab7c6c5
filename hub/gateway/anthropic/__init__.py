"""Anthropic's dialect: messages, how many tokens they come to, models."""
