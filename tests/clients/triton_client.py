"""Triton's client, unmodified, over HTTP and gRPC, sync and aio. Arguments: HTTP address, gRPC address.

Prints one line a check and exits 1 at the first that fails. The models are those of clients.test.ts.
"""

import asyncio
import queue
import sys

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcaio
import tritonclient.http as httpclient
import tritonclient.http.aio as httpaio
from tritonclient.utils import InferenceServerException

http_url, grpc_url = sys.argv[1:3]
rows = np.array([[1, 2], [3, 4]], dtype=np.float32)
expected = rows @ np.array([[1], [2]], dtype=np.float32) + 0.5


def check(what, holds):
    print(("ok  " if holds else "NOT ") + what, flush=True)
    if not holds:
        sys.exit(1)


def inputs_of(module, name="x", values=rows, datatype="FP32", **how):
    tensor = module.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, **how)
    return [tensor]


def about(client, what):
    check(f"{what}: live, ready", client.is_server_live() and client.is_server_ready() and client.is_model_ready("linear"))


def failure(call):
    try:
        call()
    except InferenceServerException as error:
        return error
    return None


def http_sync():
    client = httpclient.InferenceServerClient(http_url, concurrency=4)
    about(client, "HTTP")
    check("HTTP: server metadata", "binary_tensor_data" in client.get_server_metadata()["extensions"])
    check("HTTP: model metadata", client.get_model_metadata("linear")["inputs"][0]["datatype"] == "FP32")
    check("HTTP: config", client.get_model_config("linear")["input"][0]["data_type"] == "TYPE_FP32")
    check("HTTP: index", {"linear", "text"} <= {model["name"] for model in client.get_model_repository_index()})
    for binary in (True, False):
        outputs = [httpclient.InferRequestedOutput("y", binary_data=binary)]
        for given in (None, outputs):
            result = client.infer("linear", inputs_of(httpclient, binary_data=binary), outputs=given, request_id="r1")
            check(f"HTTP: infer, binary {binary}, outputs {'named' if given else 'all'}", np.allclose(result.as_numpy("y"), expected.reshape(result.as_numpy("y").shape)))
            check("HTTP: id, model and version", result.get_response()["id"] == "r1" and result.get_response()["model_version"] != "")
    for algorithm in ("gzip", "deflate"):
        many = np.ones((2000, 2), dtype=np.float32)
        result = client.infer("linear", inputs_of(httpclient, values=many), request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
        check(f"HTTP: {algorithm} both ways", np.allclose(result.as_numpy("y"), 3.5))
    words = np.array(["é", "", "three"], dtype=np.object_)
    for binary in (True, False):
        result = client.infer("text", inputs_of(httpclient, values=words, datatype="BYTES", binary_data=binary))
        texts = [word.decode() if isinstance(word, bytes) else word for word in result.as_numpy("y").reshape(-1)]
        check(f"HTTP: text, binary {binary}", texts == ["é", "", "three"])
    longs = np.array([2**53 + 1, -(2**62)], dtype=np.int64)
    for binary in (True, False):
        result = client.infer("long", inputs_of(httpclient, values=longs, datatype="INT64", binary_data=binary))
        check(f"HTTP: int64 exact, binary {binary}", (result.as_numpy("y").reshape(-1) == longs).all())
    halves = np.array([1.5, -2], dtype=np.float16)
    check("HTTP: FP16 as bytes", (client.infer("half", inputs_of(httpclient, values=halves, datatype="FP16")).as_numpy("y").reshape(-1) == halves).all())
    nothing = np.zeros((0, 2), dtype=np.float32)
    check("HTTP: no rows", client.infer("linear", inputs_of(httpclient, values=nothing)).as_numpy("y").shape[0] == 0)
    parallel = [client.async_infer("linear", inputs_of(httpclient)) for _ in range(50)]
    check("HTTP: 50 at once", all(np.allclose(one.get_result().as_numpy("y").reshape(-1), expected.reshape(-1)) for one in parallel))
    stats = client.get_inference_statistics("linear")["model_stats"][0]
    check("HTTP: statistics", stats["inference_stats"]["success"]["count"] > 50)
    error = failure(lambda: client.infer("nobody", inputs_of(httpclient)))
    check("HTTP: unknown model", error is not None and "Request for unknown model: 'nobody' is not found" in error.message())
    error = failure(lambda: client.infer("linear", inputs_of(httpclient), sequence_id=5, sequence_start=True))
    check("HTTP: sequences are refused", error is not None and "equences are not supported" in error.message())
    check("HTTP: timeout and priority", client.infer("linear", inputs_of(httpclient), timeout=5_000_000, priority=1) is not None)
    client.close()


def grpc_sync():
    client = grpcclient.InferenceServerClient(grpc_url)
    about(client, "gRPC")
    check("gRPC: server metadata", "statistics" in client.get_server_metadata().extensions)
    check("gRPC: model metadata", client.get_model_metadata("linear", as_json=True)["inputs"][0]["datatype"] == "FP32")
    check("gRPC: config", client.get_model_config("linear").config.input[0].data_type == 11)
    check("gRPC: index", {"linear", "text"} <= {model.name for model in client.get_model_repository_index().models})
    result = client.infer("linear", inputs_of(grpcclient), request_id="r2", timeout=5_000_000, priority=1)
    check("gRPC: infer", np.allclose(result.as_numpy("y").reshape(-1), expected.reshape(-1)) and result.get_response().id == "r2")
    outputs = [grpcclient.InferRequestedOutput("y")]
    check("gRPC: outputs named", np.allclose(client.infer("linear", inputs_of(grpcclient), outputs=outputs).as_numpy("y").reshape(-1), expected.reshape(-1)))
    for algorithm in ("gzip", "deflate"):
        check(f"gRPC: {algorithm}", client.infer("linear", inputs_of(grpcclient), compression_algorithm=algorithm) is not None)
    words = np.array(["é", "", "three"], dtype=np.object_)
    texts = client.infer("text", inputs_of(grpcclient, values=words, datatype="BYTES")).as_numpy("y").reshape(-1)
    check("gRPC: text", [word.decode() for word in texts] == ["é", "", "three"])
    halves = np.array([1.5, -2], dtype=np.float16)
    check("gRPC: FP16", (client.infer("half", inputs_of(grpcclient, values=halves, datatype="FP16")).as_numpy("y").reshape(-1) == halves).all())
    large = np.ones((1_250_000, 2), dtype=np.float32)
    check("gRPC: 10 MB", np.allclose(client.infer("linear", inputs_of(grpcclient, values=large)).as_numpy("y"), 3.5))
    answers = queue.Queue()
    calls = [client.async_infer("linear", inputs_of(grpcclient), lambda result, error: answers.put((result, error))) for _ in range(50)]
    check("gRPC: 50 at once", all(answers.get(timeout=30)[1] is None for _ in calls))
    stats = client.get_inference_statistics("linear").model_stats[0]
    check("gRPC: statistics", stats.inference_stats.success.count > 50)
    error = failure(lambda: client.infer("nobody", inputs_of(grpcclient)))
    check("gRPC: unknown model", error is not None and error.status() == "StatusCode.NOT_FOUND")
    stream(client)
    client.close()


def stream(client):
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for number in range(20):
        client.async_stream_infer("linear", inputs_of(grpcclient), request_id=str(number))
    client.async_stream_infer("nobody", inputs_of(grpcclient), request_id="bad")
    ids = []
    for _ in range(20):
        result, error = answers.get(timeout=30)
        check("gRPC: stream without error", error is None) if error is not None else None
        ids.append(result.get_response().id)
    check("gRPC: stream in order", ids == [str(number) for number in range(20)])
    check("gRPC: stream says what failed", "unknown model" in str(answers.get(timeout=30)[1]))
    client.stop_stream()


async def aio():
    async with httpaio.InferenceServerClient(http_url) as client:
        results = await asyncio.gather(*[client.infer("linear", inputs_of(httpclient)) for _ in range(20)])
        check("HTTP aio: 20 at once", all(np.allclose(one.as_numpy("y").reshape(-1), expected.reshape(-1)) for one in results))
        check("HTTP aio: ready", await client.is_model_ready("linear"))
    async with grpcaio.InferenceServerClient(grpc_url) as client:
        results = await asyncio.gather(*[client.infer("linear", inputs_of(grpcclient)) for _ in range(20)])
        check("gRPC aio: 20 at once", all(np.allclose(one.as_numpy("y").reshape(-1), expected.reshape(-1)) for one in results))

        async def requests():
            for number in range(5):
                yield {"model_name": "linear", "inputs": inputs_of(grpcclient), "request_id": str(number)}

        ids = [result.get_response().id async for result, error in client.stream_infer(requests()) if error is None]
        check("gRPC aio: stream", ids == [str(number) for number in range(5)])


http_sync()
grpc_sync()
asyncio.run(aio())
