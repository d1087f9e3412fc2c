import { ServerInterceptingCall } from '@grpc/grpc-js'
import type { ServerInterceptor } from '@grpc/grpc-js'
import { ProtocolError } from '../../../kernel/protocol/errors.ts'
import { Unpacker } from '../rest/content-coding.ts'
import type { Unpacked } from '../rest/content-coding.ts'
import { CallError } from './status.ts'
import { outlineBytes } from './wire.ts'

/*
 * The library limits one message, not all of them: a megabyte of zeros that were packed becomes a quarter of a gigabyte,
 * and as many of them at once as there are streams. It has no place to say so, hence the two steps of its call that see
 * bytes are wrapped; its version is pinned, and tests hold that both are still there.
 */
interface ReceivingCall {
  readonly stream: { once(event: 'close', listener: () => void): unknown }
  handleDataFrame(data: Buffer): void
  /** @param message - with its prefix of five bytes */
  decompressMessage(message: Buffer, encoding: string): Buffer | Promise<Buffer>
  sendMessage(message: unknown, callback: () => void): void
  sendStatus(status: { code: number; details: string }): void
}

export interface MessageLimits {
  /** Of one message, unpacked. */
  receiveBytes: number
  /** What the models here take of one, which is less as a rule. Absent: as much as that. */
  messageBytes?: () => number
  /** Of all messages that are here at once, as they came; and once more of those that were packed, unpacked. */
  heldBytes: number
  /** From the first byte of a message to its last: else who never ends one would keep others out. */
  receiveMs: number
}

const PREFIX_BYTES = 5
/** More at once would hold up the threads that write the log, and each may grow to the limit of a message. */
const UNPACKED_AT_ONCE = 2

/** Refuses messages that do not fit beside the others with UNAVAILABLE. */
export class MessageBudget {
  readonly #limits: MessageLimits
  readonly #unpacker: Unpacker
  #heldBytes = 0

  constructor(limits: MessageLimits) {
    this.#limits = limits
    // What is being unpacked sets its limit aside, which must not refuse what fits.
    this.#unpacker = new Unpacker(limits.heldBytes + UNPACKED_AT_ONCE * limits.receiveBytes, UNPACKED_AT_ONCE)
  }

  /** Of what has come and was not answered yet. */
  get heldBytes(): number {
    return this.#heldBytes + this.#unpacker.heldBytes
  }

  readonly interceptor: ServerInterceptor = (method, call) => {
    this.#watch(call as unknown as ReceivingCall, method.path.includes('Infer'))
    return new ServerInterceptingCall(call)
  }

  /** Short ones are never asked for: what the models take is to be looked up. */
  #limitOf(bytes: number): number {
    const { receiveBytes, messageBytes } = this.#limits
    return bytes <= SHORT_BYTES || messageBytes === undefined ? receiveBytes : Math.min(receiveBytes, messageBytes())
  }

  #watch(call: ReceivingCall, isInference: boolean): void {
    const held = new HeldMessages((bytes) => (this.#heldBytes -= bytes))
    const receive = call.handleDataFrame.bind(call)
    const unpack = call.decompressMessage.bind(call)
    const send = call.sendMessage.bind(call)
    const announced = new MessageLengths()
    call.stream.once('close', () => held.releaseAll())
    call.handleDataFrame = (data) => {
      if (held.isOver) return receive(data) // it throws away what comes behind a refusal
      const bytes = announced.longestIn(data)
      if (bytes > this.#limitOf(bytes)) {
        held.releaseAll()
        return call.sendStatus(tooLarge(bytes, this.#limitOf(bytes)))
      }
      if (this.#heldBytes + data.length > this.#limits.heldBytes) {
        held.releaseAll()
        return call.sendStatus(full(this.#limits.heldBytes))
      }
      this.#heldBytes += data.length
      held.arrivingBytes += data.length
      receive(data)
      held.awaitRest(this.#limits.receiveMs, () => call.sendStatus(TOO_SLOW))
    }
    call.decompressMessage = (message, encoding) => {
      const one = held.arrived(message.length)
      if (encoding !== 'gzip' && encoding !== 'deflate') {
        const whole = unpack(message, encoding)
        return whole instanceof Promise || !isInference ? whole : checked(whole)
      }
      const packed = message.subarray(PREFIX_BYTES)
      const unpacked = this.#unpack(packed, encoding, (bytes) => held.unpacked(one, bytes))
      return isInference ? unpacked.then(checked) : unpacked
    }
    // One answer a message, in their order.
    call.sendMessage = (message, callback) => {
      held.releaseFirst()
      send(message, callback)
    }
  }

  async #unpack(packed: Buffer, coding: 'gzip' | 'deflate', keep: (unpacked: Unpacked) => void): Promise<Buffer> {
    try {
      const unpacked = await this.#unpacker.unpack(packed, coding, this.#limitOf(Infinity))
      keep(unpacked)
      return unpacked.bytes
    } catch (error) {
      throw error instanceof ProtocolError ? new CallError(error.status, error.message) : error
    }
  }
}

/** Of what a message says beside its tensors' values: enough for thousands of inputs. */
export const OUTLINE_BYTES_MAX = 1024 * 1024
const SHORT_BYTES = 64 * 1024

/** @throws CallError INVALID_ARGUMENT, RESOURCE_EXHAUSTED */
function checked(message: Buffer): Buffer {
  if (message.length <= SHORT_BYTES) return message
  try {
    if (outlineBytes(message) <= OUTLINE_BYTES_MAX) return message
  } catch (error) {
    throw error instanceof ProtocolError ? new CallError(error.status, error.message) : error
  }
  throw new CallError(413, `The request has more than ${OUTLINE_BYTES_MAX} bytes beside the values of its inputs`)
}

function tooLarge(bytes: number, limitBytes: number): CallError {
  return new CallError(413, `The request has ${bytes} bytes, more than the limit of ${limitBytes}`)
}

/** What the messages of a call say of their lengths, as it comes, so that one that is too long need not come. */
class MessageLengths {
  /** Bytes of the message that are still to come. */
  #left = 0
  /** Of the prefix: what it is, and how much of it has come. */
  #length = 0
  #prefix = 0

  /** @returns 0 where none begins in these bytes */
  longestIn(data: Buffer): number {
    let longest = 0
    let at = 0
    while (at < data.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, data.length - at)
        this.#left -= taken
        at += taken
        continue
      }
      if (this.#prefix > 0) this.#length = this.#length * 256 + data[at]! // the first byte says whether it is packed
      this.#prefix += 1
      at += 1
      if (this.#prefix < PREFIX_BYTES) continue
      longest = Math.max(longest, this.#length)
      this.#left = this.#length
      this.#length = this.#prefix = 0
    }
    return longest
  }
}

function full(heldBytes: number): CallError {
  return new CallError(503, `More than ${heldBytes} bytes of requests would be here at once; try again.`)
}

const TOO_SLOW = new CallError(408, 'The request was not complete in time.')

interface HeldMessage {
  bytes: number
  unpacked: Unpacked | null
}

/** Of one call, in their order. */
class HeldMessages {
  /** Of the message whose end has not come. */
  arrivingBytes = 0
  isOver = false
  readonly #release: (bytes: number) => void
  readonly #messages: HeldMessage[] = []
  #tooSlow: NodeJS.Timeout | null = null

  constructor(release: (bytes: number) => void) {
    this.#release = release
  }

  /** Nearly every message comes as a whole, and needs no timer. */
  awaitRest(limitMs: number, refuse: () => void): void {
    if (this.arrivingBytes === 0 || this.isOver || this.#tooSlow !== null) return
    this.#tooSlow = setTimeout(() => {
      this.releaseAll()
      refuse()
    }, limitMs)
  }

  arrived(bytes: number): HeldMessage {
    const message = { bytes, unpacked: null }
    this.arrivingBytes -= bytes
    this.#stopWaiting()
    this.#messages.push(message)
    return message
  }

  unpacked(message: HeldMessage, unpacked: Unpacked): void {
    if (this.isOver) unpacked.release()
    else message.unpacked = unpacked
  }

  releaseFirst(): void {
    const message = this.#messages.shift()
    if (message === undefined) return
    this.#release(message.bytes)
    message.unpacked?.release()
  }

  releaseAll(): void {
    this.isOver = true
    this.#stopWaiting()
    while (this.#messages.length > 0) this.releaseFirst()
    this.#release(this.arrivingBytes)
    this.arrivingBytes = 0
  }

  #stopWaiting(): void {
    if (this.#tooSlow === null) return
    clearTimeout(this.#tooSlow)
    this.#tooSlow = null
  }
}
