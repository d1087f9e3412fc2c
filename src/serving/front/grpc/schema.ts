/**
 * The messages of package `inference` and of gRPC's health service, with the field numbers that clients have. Written as
 * protobuf.js' JSON, so that nothing is to be parsed or found on disk. What is left out (shared memory, trace and log
 * settings) is answered with UNIMPLEMENTED.
 *
 * @see open-inference-protocol, open_inference_grpc.proto; Triton, grpc_service.proto and model_config.proto; grpc.health.v1
 */

interface Field {
  type: string
  id: number
  rule?: 'repeated'
  keyType?: string
}

/** `name: [number, type]`; `[]type` is repeated, `{}type` a map by text. */
type Fields = Record<string, [id: number, type: string]>

function message(fields: Fields, more: object = {}): object {
  return { fields: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, fieldOf(field)])), ...more }
}

function fieldOf([id, type]: [id: number, type: string]): Field {
  if (type.startsWith('[]')) return { type: type.slice(2), id, rule: 'repeated' }
  if (type.startsWith('{}')) return { keyType: 'string', type: type.slice(2), id }
  return { type, id }
}

const nested = (messages: Record<string, object>): object => ({ nested: messages })
const choice = (name: string, ...fields: string[]): object => ({ oneofs: { [name]: { oneof: fields } } })

const call = (requestType: string, responseType: string, streams: object = {}): object => ({
  requestType,
  responseType,
  ...streams,
})

const BY_NAME: Fields = { name: [1, 'string'], version: [2, 'string'] }

const TENSOR: Fields = {
  name: [1, 'string'],
  datatype: [2, 'string'],
  shape: [3, '[]int64'],
  parameters: [4, '{}InferParameter'],
  contents: [5, 'InferTensorContents'],
}

function inferRequest(contents: 'InferTensorContents' | 'bytes'): object {
  return message(
    {
      model_name: [1, 'string'],
      model_version: [2, 'string'],
      id: [3, 'string'],
      parameters: [4, '{}InferParameter'],
      inputs: [5, '[]InferInputTensor'],
      outputs: [6, '[]InferRequestedOutputTensor'],
      raw_input_contents: [7, '[]bytes'],
    },
    nested({
      InferInputTensor: message({ ...TENSOR, contents: [5, contents] }),
      InferRequestedOutputTensor: message({ name: [1, 'string'], parameters: [2, '{}InferParameter'] }),
    }),
  )
}

const INFERENCE = {
  GRPCInferenceService: {
    methods: {
      ServerLive: call('ServerLiveRequest', 'ServerLiveResponse'),
      ServerReady: call('ServerReadyRequest', 'ServerReadyResponse'),
      ModelReady: call('ModelReadyRequest', 'ModelReadyResponse'),
      ServerMetadata: call('ServerMetadataRequest', 'ServerMetadataResponse'),
      ModelMetadata: call('ModelMetadataRequest', 'ModelMetadataResponse'),
      ModelInfer: call('ModelInferRequest', 'ModelInferResponse'),
      ModelStreamInfer: call('ModelInferRequest', 'ModelStreamInferResponse', {
        requestStream: true,
        responseStream: true,
      }),
      ModelConfig: call('ModelConfigRequest', 'ModelConfigResponse'),
      ModelStatistics: call('ModelStatisticsRequest', 'ModelStatisticsResponse'),
      RepositoryIndex: call('RepositoryIndexRequest', 'RepositoryIndexResponse'),
      RepositoryModelLoad: call('RepositoryModelLoadRequest', 'RepositoryModelLoadResponse'),
      RepositoryModelUnload: call('RepositoryModelUnloadRequest', 'RepositoryModelUnloadResponse'),
    },
  },
  ServerLiveRequest: message({}),
  ServerLiveResponse: message({ live: [1, 'bool'] }),
  ServerReadyRequest: message({}),
  ServerReadyResponse: message({ ready: [1, 'bool'] }),
  ModelReadyRequest: message(BY_NAME),
  ModelReadyResponse: message({ ready: [1, 'bool'] }),
  ServerMetadataRequest: message({}),
  ServerMetadataResponse: message({ name: [1, 'string'], version: [2, 'string'], extensions: [3, '[]string'] }),
  ModelMetadataRequest: message(BY_NAME),
  ModelMetadataResponse: message(
    {
      name: [1, 'string'],
      versions: [2, '[]string'],
      platform: [3, 'string'],
      inputs: [4, '[]TensorMetadata'],
      outputs: [5, '[]TensorMetadata'],
    },
    nested({ TensorMetadata: message({ name: [1, 'string'], datatype: [2, 'string'], shape: [3, '[]int64'] }) }),
  ),
  InferParameter: message(
    {
      bool_param: [1, 'bool'],
      int64_param: [2, 'int64'],
      string_param: [3, 'string'],
      double_param: [4, 'double'],
      uint64_param: [5, 'uint64'],
    },
    choice('parameter_choice', 'bool_param', 'int64_param', 'string_param', 'double_param', 'uint64_param'),
  ),
  InferTensorContents: message({
    bool_contents: [1, '[]bool'],
    int_contents: [2, '[]int32'],
    int64_contents: [3, '[]int64'],
    uint_contents: [4, '[]uint32'],
    uint64_contents: [5, '[]uint64'],
    fp32_contents: [6, '[]float'],
    fp64_contents: [7, '[]double'],
    bytes_contents: [8, '[]bytes'],
  }),
  ModelInferRequest: inferRequest('InferTensorContents'),
  ModelInferResponse: message(
    {
      model_name: [1, 'string'],
      model_version: [2, 'string'],
      id: [3, 'string'],
      parameters: [4, '{}InferParameter'],
      outputs: [5, '[]InferOutputTensor'],
      raw_output_contents: [6, '[]bytes'],
    },
    nested({ InferOutputTensor: message(TENSOR) }),
  ),
  ModelStreamInferResponse: message({ error_message: [1, 'string'], infer_response: [2, 'ModelInferResponse'] }),
  ModelConfigRequest: message(BY_NAME),
  ModelConfigResponse: message({ config: [1, 'ModelConfig'] }),
  ModelStatisticsRequest: message(BY_NAME),
  ModelStatisticsResponse: message({ model_stats: [1, '[]ModelStatistics'] }),
  ModelStatistics: message({
    name: [1, 'string'],
    version: [2, 'string'],
    last_inference: [3, 'uint64'],
    inference_count: [4, 'uint64'],
    execution_count: [5, 'uint64'],
    inference_stats: [6, 'InferStatistics'],
  }),
  InferStatistics: message({
    success: [1, 'StatisticDuration'],
    fail: [2, 'StatisticDuration'],
    queue: [3, 'StatisticDuration'],
    compute_input: [4, 'StatisticDuration'],
    compute_infer: [5, 'StatisticDuration'],
    compute_output: [6, 'StatisticDuration'],
    cache_hit: [7, 'StatisticDuration'],
    cache_miss: [8, 'StatisticDuration'],
  }),
  StatisticDuration: message({ count: [1, 'uint64'], ns: [2, 'uint64'] }),
  RepositoryIndexRequest: message({ repository_name: [1, 'string'], ready: [2, 'bool'] }),
  RepositoryIndexResponse: message(
    { models: [1, '[]ModelIndex'] },
    nested({ ModelIndex: message({ ...BY_NAME, state: [3, 'string'], reason: [4, 'string'] }) }),
  ),
  ModelRepositoryParameter: message(
    { bool_param: [1, 'bool'], int64_param: [2, 'int64'], string_param: [3, 'string'], bytes_param: [4, 'bytes'] },
    choice('parameter_choice', 'bool_param', 'int64_param', 'string_param', 'bytes_param'),
  ),
  RepositoryModelLoadRequest: message({
    repository_name: [1, 'string'],
    model_name: [2, 'string'],
    parameters: [3, '{}ModelRepositoryParameter'],
  }),
  RepositoryModelLoadResponse: message({}),
  RepositoryModelUnloadRequest: message({
    repository_name: [1, 'string'],
    model_name: [2, 'string'],
    parameters: [3, '{}ModelRepositoryParameter'],
  }),
  RepositoryModelUnloadResponse: message({}),
}

const MODEL_CONFIG = {
  DataType: {
    values: Object.fromEntries(
      [
        'TYPE_INVALID',
        'TYPE_BOOL',
        'TYPE_UINT8',
        'TYPE_UINT16',
        'TYPE_UINT32',
        'TYPE_UINT64',
        'TYPE_INT8',
        'TYPE_INT16',
        'TYPE_INT32',
        'TYPE_INT64',
        'TYPE_FP16',
        'TYPE_FP32',
        'TYPE_FP64',
        'TYPE_STRING',
        'TYPE_BF16',
      ].map((name, number) => [name, number]),
    ),
  },
  ModelTensorReshape: message({ shape: [1, '[]int64'] }),
  ModelInput: message(
    {
      name: [1, 'string'],
      data_type: [2, 'DataType'],
      format: [3, 'Format'],
      dims: [4, '[]int64'],
      reshape: [5, 'ModelTensorReshape'],
      is_shape_tensor: [6, 'bool'],
      allow_ragged_batch: [7, 'bool'],
      optional: [8, 'bool'],
    },
    nested({ Format: { values: { FORMAT_NONE: 0, FORMAT_NHWC: 1, FORMAT_NCHW: 2 } } }),
  ),
  ModelOutput: message({
    name: [1, 'string'],
    data_type: [2, 'DataType'],
    dims: [3, '[]int64'],
    reshape: [5, 'ModelTensorReshape'],
    is_shape_tensor: [6, 'bool'],
  }),
  ModelVersionPolicy: message(
    { latest: [1, 'Latest'], all: [2, 'All'], specific: [3, 'Specific'] },
    {
      ...choice('policy_choice', 'latest', 'all', 'specific'),
      ...nested({
        Latest: message({ num_versions: [1, 'uint32'] }),
        All: message({}),
        Specific: message({ versions: [1, '[]int64'] }),
      }),
    },
  ),
  ModelDynamicBatching: message({}),
  ModelTransactionPolicy: message({ decoupled: [1, 'bool'] }),
  ModelConfig: message({
    name: [1, 'string'],
    platform: [2, 'string'],
    version_policy: [3, 'ModelVersionPolicy'],
    max_batch_size: [4, 'int32'],
    input: [5, '[]ModelInput'],
    output: [6, '[]ModelOutput'],
    default_model_filename: [8, 'string'],
    dynamic_batching: [11, 'ModelDynamicBatching'],
    backend: [17, 'string'],
    model_transaction_policy: [19, 'ModelTransactionPolicy'],
  }),
}

const HEALTH = {
  Health: {
    methods: {
      Check: call('HealthCheckRequest', 'HealthCheckResponse'),
      Watch: call('HealthCheckRequest', 'HealthCheckResponse', { responseStream: true }),
    },
  },
  HealthCheckRequest: message({ service: [1, 'string'] }),
  HealthCheckResponse: message(
    { status: [1, 'ServingStatus'] },
    nested({ ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } } }),
  ),
}

/** As clients have it. */
export const protobufSchema = schemaOf(INFERENCE)

/** The same for the server, which reads the typed contents of tensors by itself: what is a message is bytes as well. */
export const serverSchema = schemaOf({ ...INFERENCE, ModelInferRequest: inferRequest('bytes') })

function schemaOf(inference: object): object {
  return nested({
    inference: nested({ ...inference, ...MODEL_CONFIG }),
    grpc: nested({ health: nested({ v1: nested(HEALTH) }) }),
  })
}
