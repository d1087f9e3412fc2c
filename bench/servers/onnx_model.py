"""The model of all servers that are compared, run by ONNX Runtime with one thread, from a body of the v2 protocol."""

import os

import numpy
import onnxruntime


class OnnxModel:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    def run(self, rows):
        return self.session.run(["y"], {"x": numpy.asarray(rows, dtype=numpy.float32)})[0]

    def answer(self, inputs):
        """@param inputs: as in the request's JSON"""
        (asked,) = inputs
        y = self.run(numpy.asarray(asked["data"], dtype=numpy.float32).reshape(asked["shape"]))
        output = {"name": "y", "datatype": "FP32", "shape": list(y.shape), "data": y.ravel().tolist()}
        return {"model_name": "small", "model_version": "1", "outputs": [output]}
