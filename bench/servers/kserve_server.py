"""KServe's Python server with its defaults: one worker, v2 over REST. BENCH_PORT, BENCH_MODEL."""

import os

import kserve
from kserve.protocol.infer_type import InferOutput, InferResponse
from onnx_model import OnnxModel


class Small(kserve.Model):
    def __init__(self):
        super().__init__("small")
        self.model = OnnxModel()
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        y = self.model.run(payload.inputs[0].as_numpy())
        output = InferOutput(name="y", shape=list(y.shape), datatype="FP32", data=y.ravel().tolist())
        return InferResponse(response_id=payload.id or "", model_name="small", infer_outputs=[output])


if __name__ == "__main__":
    server = kserve.ModelServer(http_port=int(os.environ["BENCH_PORT"]), enable_grpc=False, access_log_format=None)
    server.start([Small()])
