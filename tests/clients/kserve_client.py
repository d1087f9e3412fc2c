"""KServe's inference client, unmodified, over v2 REST, v1 REST and gRPC. Arguments: HTTP address, gRPC address."""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

http_url, grpc_url = sys.argv[1:3]
rows = np.array([[1, 2], [3, 4]], dtype=np.float32)
expected = [5.5, 11.5]


def check(what, holds):
    print(("ok  " if holds else "NOT ") + what, flush=True)
    if not holds:
        sys.exit(1)


def request(binary):
    tensor = InferInput("x", [2, 2], "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest(model_name="linear", infer_inputs=[tensor])


async def main():
    base = f"http://{http_url}"
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    check("v2: live and ready", await v2.is_server_live(base) and await v2.is_server_ready(base))
    check("v2: model ready", await v2.is_model_ready(base, "linear"))
    for binary in (True, False):
        answer = await v2.infer(base, request(binary), model_name="linear")
        check(f"v2: infer, binary {binary}", np.allclose(answer.outputs[0].as_numpy().reshape(-1), expected))
        check("v2: model name", answer.model_name == "linear")
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    check("v1: model ready", await v1.is_model_ready(base, "linear"))
    answer = await v1.infer(base, {"instances": rows.tolist()}, model_name="linear")
    check("v1: predict", np.allclose(np.array(answer["predictions"]).reshape(-1), expected))
    grpc = InferenceGRPCClient(grpc_url)
    check("gRPC: live and ready", await grpc.is_server_live() and await grpc.is_server_ready())
    check("gRPC: model ready", await grpc.is_model_ready("linear"))
    for binary in (True, False):
        answer = await grpc.infer(request(binary))
        check(f"gRPC: infer, raw {binary}", np.allclose(answer.outputs[0].as_numpy().reshape(-1), expected))
    await v2.close()
    await v1.close()


asyncio.run(main())
