import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import { gunzip, inflate } from 'node:zlib'
import { errorAnswer, retryAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'

export type Body =
  | { kind: 'body'; bytes: Buffer }
  /** `cut`: more is on its way, which nobody will read. */
  | { kind: 'answer'; answer: Answer; cut: boolean }
  /** The client left, or was told off by the time-outs, before its request was complete. */
  | { kind: 'gone' }

/** Request bodies held in memory at once, over all connections: many large uploads must not exhaust it. */
export class BodyBudget {
  readonly limitBytes: number
  usedBytes = 0

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes
  }
}

export interface BodyLimits {
  limitBytes: number
  budget: BodyBudget
}

/**
 * The whole body, unpacked. Complete before anything goes upstream, so that it can be sent again to another replica.
 * The bytes count against the budget until `budget.usedBytes` is given back by `releaseBody`.
 */
export async function readBody(request: IncomingMessage, limits: BodyLimits, proceed: () => void): Promise<Body> {
  const declared = request.headers['content-length']
  if (declared !== undefined && Number(declared) > limits.limitBytes) return tooLarge(limits.limitBytes)
  const coding = request.headers['content-encoding']?.toLowerCase() ?? 'identity'
  if (!(coding in UNPACK))
    return refused(415, `Content-Encoding '${coding}' is not understood; use gzip, deflate or none.`)
  proceed()
  const read = await collect(request, limits)
  if (read.kind !== 'body' || coding === 'identity') return read
  const unpacked = await unpack(coding, read.bytes, limits.limitBytes)
  limits.budget.usedBytes += (unpacked.kind === 'body' ? unpacked.bytes.length : 0) - read.bytes.length
  return unpacked
}

export function releaseBody(bytes: Buffer, budget: BodyBudget): void {
  budget.usedBytes -= bytes.length
}

function collect(request: IncomingMessage, { limitBytes, budget }: BodyLimits): Promise<Body> {
  return new Promise((resolve) => {
    const parts: Buffer[] = []
    let sizeBytes = 0
    const done = (body: Body): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
      if (body.kind !== 'body') budget.usedBytes -= sizeBytes
      resolve(body)
    }
    const onData = (part: Buffer): void => {
      parts.push(part)
      sizeBytes += part.length
      budget.usedBytes += part.length
      if (sizeBytes > limitBytes) done(tooLarge(limitBytes))
      else if (budget.usedBytes > budget.limitBytes) {
        done({ kind: 'answer', answer: retryAnswer('The gateway holds as many request bytes as it may.'), cut: true })
      }
    }
    const onEnd = (): void =>
      done({ kind: 'body', bytes: parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts) })
    const onClose = (): void => done({ kind: 'gone' })
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

/** `deflate` is zlib's format, as RFC 9110 has it. */
const UNPACK = { identity: null, gzip: promisify(gunzip), deflate: promisify(inflate) }

async function unpack(coding: string, bytes: Buffer, limitBytes: number): Promise<Body> {
  const method = coding === 'gzip' ? UNPACK.gzip : UNPACK.deflate
  try {
    return { kind: 'body', bytes: await method(bytes, { maxOutputLength: limitBytes }) }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return tooLarge(limitBytes, false)
    return refused(400, `The body is not valid ${coding}: ${(error as Error).message}.`, false)
  }
}

function tooLarge(limitBytes: number, cut = true): Body {
  return refused(413, `The request body is larger than the limit of ${limitBytes} bytes.`, cut)
}

function refused(status: number, error: string, cut = true): Body {
  return { kind: 'answer', answer: errorAnswer(status, error), cut }
}
