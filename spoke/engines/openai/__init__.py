"""Servers that speak OpenAI's API as engines: vLLM, SGLang, llama-server, LM Studio, and our own llama.cpp."""
