"""OpenAI's dialect: chat and text completions, responses, embeddings, models."""
