import { describe, expect, it } from 'vitest'
import { floatField, intField, packedInts, textField, varint } from './protobuf.ts'

/** Examples of protobuf.dev/programming-guides/encoding. */
describe('Protocol Buffers', () => {
  it('writes 150 in field 1 as 08 96 01', () => {
    expect([...intField(1, 150)]).toEqual([0x08, 0x96, 0x01])
  })

  it("writes 'testing' in field 2 as its bytes after tag and length", () => {
    expect([...textField(2, 'testing')]).toEqual([0x12, 0x07, ...Buffer.from('testing')])
  })

  it('packs 3, 270, 86942 in field 6', () => {
    expect([...packedInts(6, [3, 270, 86_942])]).toEqual([0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05])
  })

  it('writes negative integers in ten bytes', () => {
    expect([...varint(-2)]).toEqual([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])
  })

  it('writes 0, 127 and 128 in one, one and two bytes', () => {
    expect([0, 127, 128].map((value) => [...varint(value)])).toEqual([[0], [127], [128, 1]])
  })

  it('writes floats little-endian', () => {
    expect([...floatField(2, 1)]).toEqual([0x15, 0x00, 0x00, 0x80, 0x3f])
  })
})
