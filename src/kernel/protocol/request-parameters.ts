import { ProtocolError } from './errors.ts'
import { isObject } from './json.ts'
import type { Json } from './json.ts'

/** What a request says about itself beside its tensors, checked. */
export interface RequestParameters {
  /** As they came. */
  all: Json
  /** How long the client waits, in microseconds; null where it does not say, and for 0, which is no limit. */
  timeoutMicros: number | null
  /** 1 is the highest, 0 the server's usual; null where it does not say. */
  priority: number | null
  /** Outputs are wanted as bytes, unless one says otherwise. */
  binaryOutput: boolean
}

const NONE: RequestParameters = Object.freeze({
  all: Object.freeze({}),
  timeoutMicros: null,
  priority: null,
  binaryOutput: false,
})

/** @throws ProtocolError 400 naming the parameter */
export function readParameters(json: unknown): RequestParameters {
  if (json === undefined || json === null) return NONE
  if (!isObject(json)) throw new ProtocolError(400, `'parameters' must be an object`)
  if (json.sequence_id || json.sequence_start || json.sequence_end) {
    throw new ProtocolError(
      400,
      'Sequences are not supported: send requests without sequence_id, sequence_start and sequence_end',
    )
  }
  return {
    all: json,
    timeoutMicros: wholeNumber('timeout', 'microseconds', json.timeout) || null,
    priority: wholeNumber('priority', '1, the highest, and more', json.priority),
    binaryOutput: flag(json.binary_data_output, `Parameter 'binary_data_output'`) ?? false,
  }
}

function wholeNumber(name: string, meaning: string, value: unknown): number | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new ProtocolError(400, `Parameter '${name}' must be a whole number of at least 0 (${meaning})`)
}

/** @returns null where it is not given */
export function flag(value: unknown, what: string): boolean | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'boolean') return value
  throw new ProtocolError(400, `${what} must be true or false`)
}

/** Tensors in memory that client and server share are another extension, and can't be had over a network. */
export function refuseSharedMemory(parameters: Json, what: string): void {
  if (parameters.shared_memory_region === undefined || parameters.shared_memory_region === null) return
  throw new ProtocolError(400, `${what}: shared memory is not supported; send the tensor with the request`)
}
