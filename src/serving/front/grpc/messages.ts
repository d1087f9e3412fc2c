/** The messages as the protobuf reader gives them and takes them: 64-bit integers as text, bytes as buffers. */

/** One of them. */
export interface InferParameter {
  bool_param?: boolean
  int64_param?: string
  string_param?: string
  double_param?: number
  uint64_param?: string
}

export interface InferInputTensor {
  name: string
  datatype: string
  shape: string[]
  parameters: Record<string, InferParameter>
  /** An InferTensorContents, unread; empty: none. */
  contents: Buffer
}

export interface ModelInferRequest {
  model_name: string
  /** Empty: whichever speaks for the model. */
  model_version: string
  id: string
  parameters: Record<string, InferParameter>
  inputs: InferInputTensor[]
  outputs: { name: string; parameters: Record<string, InferParameter> }[]
  raw_input_contents: Buffer[]
}

export interface ModelInferResponse {
  model_name: string
  model_version: string
  id: string
  parameters: Record<string, InferParameter>
  outputs: { name: string; datatype: string; shape: number[] }[]
  raw_output_contents: Buffer[]
}

export interface ModelStreamInferResponse {
  error_message: string
  infer_response: Partial<ModelInferResponse>
}
