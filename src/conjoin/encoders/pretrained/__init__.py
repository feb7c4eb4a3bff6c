"""Encoders from saved models: transformers, sentence-transformers and ONNX."""
