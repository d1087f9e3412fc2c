import type { Datatype } from '../model/signature.ts'
import type { Tensor, TensorData } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { jsonString } from './json.ts'

/** `{"name":…,"datatype":…,"shape":[…],"data":[…]}`, flat and row-major; NaN and infinite values become null. */
export function tensorToJson(name: string, tensor: Tensor): string {
  return `${tensorHead(name, tensor)},"data":[${VALUES[tensor.datatype](name, tensor.data)}]}`
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
  FP32: floats,
  FP64: floats,
  INT8: integers,
  INT16: integers,
  INT32: integers,
  INT64: integers,
  UINT8: integers,
  UINT16: integers,
  UINT32: integers,
  UINT64: integers,
}

function floats(_name: string, data: TensorData): string {
  const values = data as Float64Array
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
