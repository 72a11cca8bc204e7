"""The ``llama`` engine: models in GGUF, run by llama.cpp in processes without a network."""
