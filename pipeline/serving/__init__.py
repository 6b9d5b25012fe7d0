"""Models behind an OpenAI-compatible endpoint: one that exists, or a vLLM server of our own on loopback."""
