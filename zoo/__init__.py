"""Generators of ONNX models; see README.md."""
