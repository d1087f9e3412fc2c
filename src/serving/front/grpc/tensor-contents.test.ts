import { fromJSON } from '@grpc/proto-loader'
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { ModelInferRequest } from './messages.ts'
import { protobufSchema, serverSchema } from './schema.ts'
import { contentBytes } from './tensor-contents.ts'
import { outlineBytes } from './wire.ts'

const inferOf = (schema: object) => {
  const service = fromJSON(schema, { keepCase: true, longs: String, defaults: true, oneofs: true })[
    'inference.GRPCInferenceService'
  ] as ServiceDefinition
  return service['ModelInfer'] as MethodDefinition<object, object>
}
const client = inferOf(protobufSchema)
const server = inferOf(serverSchema)

const messageOf = (contents: object, more: object = {}): Buffer =>
  client.requestSerialize({ model_name: 'm', inputs: [{ name: 'x', datatype: '', shape: [1], contents }], ...more })

/** As a client sends them, and as this server's reader gives them. */
const contentsOf = (contents: object): Buffer =>
  (server.requestDeserialize(messageOf(contents)) as ModelInferRequest).inputs[0]!.contents

function refusal(read: () => unknown): ProtocolError {
  try {
    read()
  } catch (error) {
    if (error instanceof ProtocolError) return error
    throw error
  }
  return expect.fail('it was read')
}

const bytesOf = (values: { buffer: ArrayBufferLike }) => new Uint8Array(values.buffer)

describe('typed contents', () => {
  it.each<[string, object, Uint8Array]>([
    ['FP32', { fp32_contents: [1.5, -2, Number.NaN] }, bytesOf(new Float32Array([1.5, -2, Number.NaN]))],
    ['FP64', { fp64_contents: [0.1, -1e300] }, bytesOf(new Float64Array([0.1, -1e300]))],
    ['BOOL', { bool_contents: [true, false, true] }, new Uint8Array([1, 0, 1])],
    ['INT8', { int_contents: [-128, -1, 0, 127] }, bytesOf(new Int8Array([-128, -1, 0, 127]))],
    ['INT16', { int_contents: [-32_768, -1, 300] }, bytesOf(new Int16Array([-32_768, -1, 300]))],
    [
      'INT32',
      { int_contents: [-2_147_483_648, 2_147_483_647] },
      bytesOf(new Int32Array([-2_147_483_648, 2_147_483_647])),
    ],
    ['UINT8', { uint_contents: [0, 255] }, new Uint8Array([0, 255])],
    ['UINT16', { uint_contents: [0, 65_535] }, bytesOf(new Uint16Array([0, 65_535]))],
    ['UINT32', { uint_contents: [0, 4_294_967_295] }, bytesOf(new Uint32Array([0, 4_294_967_295]))],
    [
      'INT64',
      { int64_contents: ['-9223372036854775808', '-1', '9007199254740993', '34359738368'] },
      bytesOf(new BigInt64Array([-9223372036854775808n, -1n, 9007199254740993n, 34359738368n])),
    ],
    [
      'UINT64',
      { uint64_contents: ['18446744073709551615', '4294967296', '1'] },
      bytesOf(new BigUint64Array([18446744073709551615n, 4294967296n, 1n])),
    ],
    [
      'BYTES',
      { bytes_contents: [Buffer.from('é'), Buffer.alloc(0)] },
      new Uint8Array([2, 0, 0, 0, 0xc3, 0xa9, 0, 0, 0, 0]),
    ],
  ])('of %s become the bytes of a binary tensor', (datatype, contents, bytes) => {
    expect(new Uint8Array(contentBytes('x', datatype, contentsOf(contents)))).toEqual(bytes)
  })

  it('may come one by one, or in several lists, as protobuf allows', () => {
    const one = Buffer.from([0x10, 0x01]) // int_contents, a single varint
    const list = Buffer.from([0x12, 0x02, 0x02, 0x03]) // int_contents, packed
    expect([...contentBytes('x', 'INT8', Buffer.concat([one, list, one]))]).toEqual([1, 2, 3, 1])
    const float = Buffer.from([0x35, 0, 0, 0xc0, 0x3f]) // fp32_contents, a single value
    expect(contentBytes('x', 'FP32', float)).toEqual(Buffer.from(new Float32Array([1.5]).buffer))
  })

  it('are nothing where there are none', () => {
    expect(contentBytes('x', 'FP32', null)).toHaveLength(0)
    expect(contentBytes('x', 'FP32', contentsOf({}))).toHaveLength(0)
  })

  it.each<[string, string, Buffer, string]>([
    ['a value beyond its type', 'INT8', contentsOf({ int_contents: [1, 128] }), 'value 1 is 128, which INT8'],
    ['a negative one that is', 'INT16', contentsOf({ int_contents: [-32_769] }), 'value 0 is -32769, which INT16'],
    [
      'the list of another type',
      'FP32',
      contentsOf({ int_contents: [1] }),
      `belongs into 'fp32_contents', not into 'int`,
    ],
    [
      'an empty text for numbers',
      'FP32',
      contentsOf({ bytes_contents: [Buffer.alloc(0)] }),
      `not into 'bytes_contents'`,
    ],
    ['a type that has no list', 'FP16', contentsOf({ fp32_contents: [1] }), `FP16 can't be sent as typed contents`],
    ['a list that is cut off', 'INT8', Buffer.from([0x12, 0x05, 0x01]), 'no protobuf message'],
    ['a number without an end', 'INT8', Buffer.from([0x12, 0x02, 0x81, 0x81]), 'no protobuf message'],
    ['half a float', 'FP32', Buffer.from([0x32, 0x02, 0, 0]), 'no protobuf message'],
    ['a group', 'FP32', Buffer.from([0x33, 0x34]), 'no protobuf message'],
  ])('are refused for %s', (_what, datatype, contents, why) => {
    const error = refusal(() => contentBytes('x', datatype, contents))
    expect(error.status).toBe(400)
    expect(error.message).toContain(why)
  })

  it('may not grow beyond the limit: a byte of a message may stand for eight', () => {
    const zeros = contentsOf({ int64_contents: Array(1_000).fill('0') })
    expect(zeros.length).toBeLessThan(1_100)
    expect(refusal(() => contentBytes('x', 'INT64', zeros, 7_999))).toMatchObject({ status: 413 })
    expect(contentBytes('x', 'INT64', zeros, 8_000)).toHaveLength(8_000)
  })
})

describe('the outline of a request', () => {
  it('is all but the values of its tensors', () => {
    const contents = { fp32_contents: Array(1_000).fill(1) }
    const message = messageOf(contents, { raw_input_contents: [Buffer.alloc(5_000)] })
    expect(message.length).toBeGreaterThan(9_000)
    expect(outlineBytes(message)).toBeLessThan(60)
  })

  it('has what small parts are made of, which take the most memory', () => {
    const shapes = messageOf({}, { inputs: [{ name: 'x', shape: Array(10_000).fill(1) }] })
    expect(outlineBytes(shapes)).toBeGreaterThan(10_000)
    const empty = client.requestSerialize({ raw_input_contents: Array(10_000).fill(Buffer.alloc(0)) })
    expect(outlineBytes(empty)).toBe(20_000)
  })

  it('is none of what is no protobuf', () => {
    expect(refusal(() => outlineBytes(Buffer.from([0x3a, 0x7f, 0]))).status).toBe(400)
  })
})
