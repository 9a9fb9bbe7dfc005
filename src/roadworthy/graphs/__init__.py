"""ONNX graphs as objects of work: load, join, optimise, quantise, time, run, trace.

In: graphs as bytes or ``onnx.ModelProto``, rows as clean Polars frames. Out: graphs, scores, costs and traces.
Nothing here knows features, trainers or bundles; a graph says itself what it takes.
"""
