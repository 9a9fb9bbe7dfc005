"""ONNX graphs as objects of work: join, optimise, quantise, time, trace."""
