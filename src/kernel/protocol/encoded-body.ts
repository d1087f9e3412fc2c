import type { Tensor } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { tensorByteSize, writeTensorBytes } from './tensor-bytes.ts'
import { tensorHead, tensorToJson } from './tensor-to-json.ts'

/**
 * A request or an answer in the common form of all protocols, unpacked: JSON, then the bytes of binary tensors in the
 * order in which the JSON names them.
 */
export interface EncodedBody {
  body: Buffer
  /** Length of the JSON at the head of `body`; 0: a raw request, no JSON at all; null: it is all JSON. */
  jsonBytes: number | null
}

/**
 * The header `Inference-Header-Content-Length`, which gives the length of the JSON before binary tensors.
 * @param bodyBytes - of the whole body, unpacked
 * @returns null without the header
 * @throws ProtocolError 400 where it is no number, or more than there is
 */
export function jsonBytesOf(header: string | undefined, bodyBytes: number): number | null {
  if (header === undefined) return null
  const text = header.trim()
  const jsonBytes = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (jsonBytes <= bodyBytes) return jsonBytes
  const why = Number.isNaN(jsonBytes) ? 'not a number of bytes' : `more than the body's ${bodyBytes} bytes`
  throw new ProtocolError(400, `Header Inference-Header-Content-Length is '${text.slice(0, 40)}': ${why}`)
}

/** Tensors as the items of `inputs` or `outputs`, and the bytes that follow the JSON. */
export class TensorList {
  json = ''
  readonly #binary: Tensor[] = []
  #size = 0

  addJson(name: string, tensor: Tensor): void {
    this.json += `${this.json === '' ? '' : ','}${tensorToJson(name, tensor)}`
  }

  addBinary(name: string, tensor: Tensor): void {
    const size = tensorByteSize(tensor)
    this.json += `${this.json === '' ? '' : ','}${tensorHead(name, tensor)},"parameters":{"binary_data_size":${size}}}`
    this.#binary.push(tensor)
    this.#size += size
  }

  /** @param json - the whole JSON, which holds `this.json` */
  body(json: string): EncodedBody {
    if (this.#binary.length === 0) return { body: Buffer.from(json), jsonBytes: null }
    const { body, jsonBytes } = roomBehind(json, this.#size)
    let at = jsonBytes
    for (const tensor of this.#binary) at = writeTensorBytes(body, at, tensor)
    return { body, jsonBytes }
  }
}

/** Tensors begin at a multiple of this, so that whoever reads the body in place needs no copy. JSON ends in spaces. */
const ALIGNMENT = 8

/** @param written - bytes of the JSON @returns the same with the spaces behind it */
export const alignedBytes = (written: number): number => Math.ceil(written / ALIGNMENT) * ALIGNMENT

export function roomBehind(json: string, bytes: number): { body: Buffer; jsonBytes: number } {
  const written = Buffer.byteLength(json)
  const jsonBytes = alignedBytes(written)
  const body = Buffer.allocUnsafe(jsonBytes + bytes)
  body.write(json, 0)
  body.fill(0x20, written, jsonBytes)
  return { body, jsonBytes }
}
