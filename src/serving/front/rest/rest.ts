import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import { errorAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import type { DataPlane } from '../data-plane.ts'
import type { Admission, HttpHandler, HttpRequest, OnDone, RequestHead } from '../http/http-front.ts'
import { answerCall } from './calls.ts'
import { Packer, requestCoding, Unpacker } from './content-coding.ts'
import type { Unpacked } from './content-coding.ts'
import { restLimits } from './extras.ts'
import type { CallerOf, ExtraRoute, KnownCaller, RestExtras, RestLimits } from './extras.ts'
import { modelNameOf, onlyName } from './model-name.ts'
import { answerProbe } from './probes.ts'
import { refusal } from './refusal.ts'
import { isForAnybody, isProbe, methodOf, parseTarget, pathOf } from './target.ts'
import type { Method, ProbeTarget, Target } from './target.ts'
import { refuseTooLargeToTranslate, TRANSLATED_BYTES_MAX } from './translated.ts'

/** What is asked for: one of the protocols' targets, or something that this process has besides. */
interface Asked {
  target: Target
  extra: ExtraRoute | null
}

/** Clients ask for the same again and again; more than this is not remembered. */
const REMEMBERED_TARGETS = 512
const REMEMBERED_LENGTH = 256

/** Of a request that has no business with a body. */
const SHORT_BODY_BYTES = 64 * 1024

/**
 * The REST protocols over a data plane: Open Inference Protocol v2 with Triton's extensions, KServe v1 and MLflow's
 * scoring server.
 *
 *   request line ─▶ target ─▶ who calls ─▶ limit of the body │ unpack ─▶ protocol ─▶ DataPlane ─▶ protocol ─▶ pack
 *                  └───────────── admit: by the head alone ──┘ └───────────────────── serve ──────────────────────┘
 */
export function restHandler(plane: DataPlane, extras: RestExtras = {}): HttpHandler {
  return new Rest(plane, extras)
}

class Rest implements HttpHandler {
  readonly #plane: DataPlane
  readonly #extras: RestExtras
  readonly #limits: RestLimits
  readonly #routes: ReadonlyMap<string, ExtraRoute>
  readonly #unpacker: Unpacker
  readonly #packer = new Packer()
  readonly #remembered = new Map<string, Asked>()
  /** Each request is asked about twice, by its head and when its body is there, as a rule at once. */
  #lastUrl = ''
  #lastAsked: Asked = { target: parseTarget(''), extra: null }
  readonly onDone: OnDone | undefined

  constructor(plane: DataPlane, extras: RestExtras) {
    this.onDone = extras.onDone
    this.#plane = plane
    this.#extras = extras
    this.#limits = { ...restLimits, ...extras.limits }
    this.#routes = new Map((extras.routes ?? []).map((route) => [route.path, route]))
    this.#unpacker = new Unpacker(this.#limits.unpackedBytes)
  }

  admit(head: RequestHead): Admission {
    const asked = this.#askedBy(head)
    try {
      return this.#admit(head, asked)
    } catch (error) {
      return { kind: 'answer', answer: refusal(asked.target, error) }
    }
  }

  #admit(head: RequestHead, asked: Asked): Admission {
    const { target, extra } = asked
    const refused = methodAnswer(head.method, asked) ?? this.#refusal(head, asked)
    if (refused !== null) return { kind: 'answer', answer: refused }
    if (extra === null && isProbe(target)) return { kind: 'answer', answer: this.#probe(target, head) }
    requestCoding(head.headers['content-encoding'])
    if (isTranslated(target)) refuseTooLargeToTranslate(Number(head.headers['content-length'] ?? 0))
    return { kind: 'read', limitBytes: this.#limitOf(asked, head) }
  }

  #refusal(head: RequestHead, { target, extra }: Asked): Answer | null {
    if (extra !== null) return extra.refusal?.(head) ?? null
    if (isForAnybody(target)) return null
    const caller = this.#callerOf(head, target)
    return caller.kind === 'answer' ? caller.answer : null
  }

  async serve(request: HttpRequest): Promise<Answer | null> {
    const asked = this.#askedBy(request)
    let unpacked: Unpacked | null = null
    try {
      const coding = requestCoding(request.headers['content-encoding'])
      if (coding !== null) unpacked = await this.#unpacker.unpack(request.body, coding, this.#limitOf(asked, request))
      const answer = await this.#answer(request, unpacked?.bytes ?? request.body, asked)
      return answer === null ? null : this.#packer.pack(answer, request.headers['accept-encoding'])
    } catch (error) {
      return refusal(asked.target, error)
    } finally {
      unpacked?.release()
    }
  }

  #answer(request: HttpRequest, body: Buffer, { target, extra }: Asked): Answer | null | Promise<Answer | null> {
    if (extra !== null) return extra.serve(body, request)
    if (isProbe(target)) return this.#probe(target, request)
    const caller = this.#callerOf(request, target)
    if (caller.kind === 'answer') return caller.answer
    return answerCall(this.#plane, target, { request, body, caller: caller.name, endpoints: caller.endpoints ?? null })
  }

  #probe(target: ProbeTarget, head: RequestHead): Answer {
    return answerProbe(this.#plane, target, this.#extras.isDraining?.() ?? false, this.#heardOf(head, target))
  }

  /** At the root of MLflow's paths, where an error may list what there is. Null: all. */
  #heardOf(head: RequestHead, target: Target): readonly string[] | null {
    if (!('name' in target) || target.name !== null) return null
    const caller = this.#callerOf(head, target)
    return caller.kind === 'caller' ? (caller.endpoints ?? null) : []
  }

  #callerOf(head: RequestHead, target: Target): ReturnType<CallerOf> {
    const { callerOf } = this.#extras
    return callerOf === undefined ? ANYBODY : callerOf(head, modelNameOf(this.#plane, target))
  }

  /**
   * Of a body, unpacked.
   * @throws ProtocolError 404 unknown model
   */
  #limitOf({ target, extra }: Asked, head: RequestHead): number {
    if (extra !== null) return extra.bodyLimitBytes
    if (target.kind !== 'infer' && target.kind !== 'v1-predict' && target.kind !== 'mlflow-invocations')
      return SHORT_BODY_BYTES
    try {
      const version = target.kind === 'infer' ? target.version : null
      const name = target.name ?? onlyName(this.#plane, this.#heardOf(head, target))
      const limitBytes = this.#plane.bodyLimitBytes(name, version)
      return isTranslated(target) ? Math.min(limitBytes, TRANSLATED_BYTES_MAX) : limitBytes
    } catch (error) {
      // It is the data plane's to answer, and to count, as any other request that can't be served now.
      if (error instanceof ProtocolError && error.status === 503) return this.#limits.bodyLimitBytes
      throw error
    }
  }

  #askedBy({ target: url, peer }: RequestHead): Asked {
    const asked = url === this.#lastUrl ? this.#lastAsked : (this.#remembered.get(url) ?? this.#read(url))
    this.#lastUrl = url
    this.#lastAsked = asked
    const { extra } = asked
    return extra === null || (extra.isFor?.(peer) ?? true) ? asked : { target: parseTarget(url), extra: null }
  }

  #read(url: string): Asked {
    const target = parseTarget(url)
    const asked = { target, extra: this.#routes.get(pathOf(url)) ?? null }
    if (url.length > REMEMBERED_LENGTH) return asked
    if (this.#remembered.size >= REMEMBERED_TARGETS) this.#remembered.clear()
    this.#remembered.set(url, asked)
    return asked
  }
}

const isTranslated = ({ kind }: Target): boolean => kind === 'v1-predict' || kind === 'mlflow-invocations'

const ANYBODY: KnownCaller = { kind: 'caller', name: 'anonymous' }

function methodAnswer(method: string, { target, extra }: Asked): Answer | null {
  const taken: Method | null = extra === null ? methodOf(target) : extra.method
  if (taken === null || method === taken || (taken === 'GET' && method === 'HEAD')) return null
  return errorAnswer(405, `Use ${taken} here, not ${method}.`, ['Allow', taken === 'GET' ? 'GET, HEAD' : taken])
}
