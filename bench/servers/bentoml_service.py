"""BentoML with its defaults: one worker. Served by its own command on the port that is asked for."""

import bentoml
from onnx_model import OnnxModel


@bentoml.service(workers=1)
class Small:
    def __init__(self):
        self.model = OnnxModel()

    @bentoml.api(route="/v2/models/small/infer")
    def infer(self, inputs: list[dict]) -> dict:
        return self.model.answer(inputs)
