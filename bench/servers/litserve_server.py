"""LitServe with its defaults: one worker, one request a run. BENCH_PORT, BENCH_MODEL."""

import os

import litserve
from onnx_model import OnnxModel


class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = OnnxModel()

    def decode_request(self, request):
        return request["inputs"]

    def predict(self, inputs):
        return self.model.answer(inputs)

    def encode_response(self, answer):
        return answer


if __name__ == "__main__":
    api = Api(api_path="/v2/models/small/infer")
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(port=int(os.environ["BENCH_PORT"]), log_level="warning", generate_client_file=False)
