import type { TensorSpec } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import type { Refusal } from './json.ts'
import { DATATYPE_BYTES, readTensorBytes } from './tensor-bytes.ts'

/**
 * The tensor of a raw request, which is its bytes and nothing else: the size of its one dynamic axis follows from how
 * many there are. Of BYTES it is one element, without a length before it.
 * @throws what `refuse` makes: two dynamic axes, or bytes that don't fit
 * @see Triton, extension_binary_data.md, "Raw Binary Request"
 */
export function readRawTensor(spec: TensorSpec, bytes: Uint8Array, refuse: Refusal): Tensor {
  const { datatype } = spec
  const dynamic = spec.shape.indexOf(-1)
  if (dynamic !== spec.shape.lastIndexOf(-1))
    throw refuse(`a raw request can't say the sizes of more than one dynamic axis in [${spec.shape.join(', ')}]`)
  if (datatype === 'BYTES') return readRawText(spec, bytes, refuse)
  const fixed = spec.shape.reduce((product, size) => (size === -1 ? product : product * size), DATATYPE_BYTES[datatype])
  const size = fixed === 0 ? 0 : bytes.length / fixed
  if (!Number.isInteger(size))
    throw refuse(`${bytes.length} bytes are no multiple of the ${fixed} that [${spec.shape.join(', ')}] takes`)
  const shape = spec.shape.map((fixedSize) => (fixedSize === -1 ? size : fixedSize))
  return readTensorBytes(datatype, shape, bytes, refuse)
}

function readRawText(spec: TensorSpec, bytes: Uint8Array, refuse: Refusal): Tensor {
  const shape = spec.shape.map((size) => (size === -1 ? 1 : size))
  if (shape.some((size) => size !== 1))
    throw refuse(`a raw request carries one element of BYTES, but the model takes [${spec.shape.join(', ')}]`)
  const framed = Buffer.allocUnsafe(4 + bytes.length)
  framed.writeUInt32LE(bytes.length, 0)
  framed.set(bytes, 4)
  return readTensorBytes('BYTES', shape, framed, refuse)
}
