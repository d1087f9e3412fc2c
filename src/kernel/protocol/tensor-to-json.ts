import type { Datatype } from '../model/signature.ts'
import type { Tensor, TensorData } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { jsonString } from './json.ts'

/** `{"name":…,"datatype":…,"shape":[…],"data":[…]}`, flat and row-major; NaN and infinite values become null. */
export function tensorToJson(name: string, tensor: Tensor): string {
  return `${tensorHead(name, tensor)},"data":[${valuesToJson(name, tensor)}]}`
}

/** The values alone, with commas in between. @throws ProtocolError 400 for FP16 */
export function valuesToJson(name: string, { datatype, data }: Tensor): string {
  return VALUES[datatype](name, data)
}

/** The same up to its data, and without the closing brace. */
export function tensorHead(name: string, { datatype, shape }: Tensor): string {
  return `{"name":${jsonString(name)},"datatype":"${datatype}","shape":[${shape.join(',')}]`
}

const VALUES: Record<Datatype, (name: string, data: TensorData) => string> = {
  BOOL: (_name, data) => (data as Uint8Array).join(',').replaceAll('1', 'true').replaceAll('0', 'false'),
  BYTES: (_name, data) => (data as string[]).map((text) => JSON.stringify(text)).join(','),
  FP16: (name) => {
    throw new ProtocolError(
      400,
      `Output '${name}' is FP16, which JSON can't carry: ask for it as bytes (binary_data_output)`,
    )
  },
  FP32: numbers,
  FP64: numbers,
  INT8: numbers,
  INT16: numbers,
  INT32: numbers,
  INT64: integers,
  UINT8: numbers,
  UINT16: numbers,
  UINT32: numbers,
  UINT64: integers,
}

/** From so many values on the engine's own writing costs less than a text that grows: a third for hundreds of them. */
const MANY = 8

function numbers(_name: string, data: TensorData): string {
  const values = data as Float64Array
  if (values.length >= MANY) return JSON.stringify(Array.from(values)).slice(1, -1) // it writes null for NaN, too
  let text = ''
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i]!
    if (i > 0) text += ','
    text += Number.isFinite(value) ? value : 'null'
  }
  return text
}

/** Digits of a bigint are all kept. */
function integers(_name: string, data: TensorData): string {
  const values = data as BigInt64Array
  let text = ''
  for (let i = 0; i < values.length; i += 1) text += i > 0 ? `,${values[i]}` : values[i]
  return text
}
