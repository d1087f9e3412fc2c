/** The Open Inference Protocol v2 in JSON: what every room uses of it. */
export { errorBody, ProtocolError, unknownModel } from './errors.ts'
export type { ProtocolStatus } from './errors.ts'
export { parseInferRequest } from './infer-request.ts'
export type { InferRequest } from './infer-request.ts'
export { encodeInferRequest, encodeInferResponse, parseInferResponse } from './infer-response.ts'
export type { AnsweredTensor, InferResponse } from './infer-response.ts'
export { LIVE_BODY, modelMetadata, modelReady, READY_BODY, serverMetadata } from './metadata.ts'
