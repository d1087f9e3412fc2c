"""Triton as PyPI has it (nvidia-pytriton): its server, and the model behind its Python backend. BENCH_PORT, BENCH_MODEL."""

import os

import numpy
from onnx_model import OnnxModel
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

if __name__ == "__main__":
    model = OnnxModel()

    @batch
    def infer(x):
        return {"y": model.run(x)}

    config = TritonConfig(
        http_address="127.0.0.1", http_port=int(os.environ["BENCH_PORT"]), allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="small",
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=numpy.float32, shape=(10,))],
            outputs=[Tensor(name="y", dtype=numpy.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher()),
        )
        triton.serve()
