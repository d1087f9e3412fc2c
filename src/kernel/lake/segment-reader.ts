import { FRAME_HEAD_BYTES, intactBody, kindOf, walkFrames } from './spool-format.ts'

/** What a sealed segment holds: intact bodies with their offsets, and stretches whose CRC is wrong. */
export interface SegmentContent {
  bodies: { body: Buffer; offset: number }[]
  damaged: { offset: number; length: number }[]
}

/**
 * Reads a whole segment. A sealed one was whole once, so damage is the disk's: what lies behind it is looked for,
 * frame by frame, rather than given up.
 */
export function readSegment(bytes: Buffer): SegmentContent {
  const content: SegmentContent = { bodies: [], damaged: [] }
  let at = 0
  while (at < bytes.length) {
    const { end } = walkFrames(bytes, (body, offset) => content.bodies.push({ body, offset }), at)
    if (end === bytes.length) break
    at = nextIntactFrame(bytes, end + 1)
    content.damaged.push({ offset: end, length: at - end })
  }
  return content
}

/** The first offset from `from` on at which a frame of a known kind with the right CRC begins; the end if there is none. */
function nextIntactFrame(bytes: Buffer, from: number): number {
  for (let at = from; at + FRAME_HEAD_BYTES < bytes.length; at++) {
    if (kindOf(bytes.subarray(at + FRAME_HEAD_BYTES)) === 'unknown') continue
    if (intactBody(bytes, at) !== null) return at
  }
  return bytes.length
}
