"""MLServer: a runtime of its own, as its documentation has it. Started by `mlserver start` on a folder of settings."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from onnx_model import OnnxModel


class Small(MLModel):
    async def load(self) -> bool:
        self.model = OnnxModel()
        return True

    async def predict(self, payload):
        y = self.model.run(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(
            model_name=self.name, model_version="1", outputs=[NumpyCodec.encode_output(name="y", payload=y)]
        )
