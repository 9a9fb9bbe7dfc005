"""The Open Inference Protocol V2: over REST, as JSON or with binary tensors, and over gRPC.

In: tensors by name, as stock clients send them. Out: the answers of the same ``Service`` that ``/predict`` asks. Laws:
a value means the same in every form of the protocol, and what the cleaning plan says it means; whatever is refused is
refused as ``{"error": …}``, or as a gRPC status, with all of its problems by input and row.
"""
