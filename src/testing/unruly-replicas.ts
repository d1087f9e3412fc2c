import { UpstreamError } from '../serving/gateway/errors.ts'
import type { OpenUpstream, UpstreamAnswer } from '../serving/gateway/upstream/upstream.ts'
import { answerOf } from './gateway-fakes.ts'

/**
 * hangs: takes requests and probes and answers neither. mute: answers probes alone. flaps: breaks every exchange, and says
 * that it is ready. not-ready: says so to requests and probes. A number: answers with that status.
 */
export type Way = number | 'hangs' | 'mute' | 'garbage' | 'flaps' | 'not-ready'

export interface UnrulyReplicas {
  open: OpenUpstream
  /** The replicas that were asked, in order. */
  asked: string[]
  /** From now on, each exchange after `delayMs`. Without a word a replica answers 200 after 2 ms. */
  behave(replicaId: string, way: Way, delayMs?: number): void
}

/** Replicas without processes that behave in one way until they are told another. */
export function unrulyReplicas(): UnrulyReplicas {
  const ways = new Map<string, { way: Way; delayMs: number }>()
  const unruly: UnrulyReplicas = {
    asked: [],
    behave: (replicaId, way, delayMs = 2) => void ways.set(replicaId, { way, delayMs }),
    open: ({ replicaId }) => ({
      call: () => {
        unruly.asked.push(replicaId)
        const { way, delayMs } = ways.get(replicaId) ?? { way: 200, delayMs: 2 }
        let abort: () => void = () => undefined
        const answer = new Promise<UpstreamAnswer>((resolve, reject) => {
          abort = () => reject(new UpstreamError('aborted', 'given up'))
          if (way === 'hangs' || way === 'mute') return
          setTimeout(() => {
            if (way === 'garbage') reject(new UpstreamError('garbled', 'it answered garbage'))
            else if (way === 'flaps') reject(new UpstreamError('died', 'it went away'))
            else resolve(answerOf(way === 'not-ready' ? 503 : way, { from: replicaId }))
          }, delayMs)
        })
        return { answer, abort }
      },
      async probe(timeoutMs) {
        const way = ways.get(replicaId)?.way
        if (way !== 'hangs') return way !== 'not-ready'
        await new Promise((resolve) => setTimeout(resolve, timeoutMs))
        return false
      },
      retire: () => undefined,
      close: () => undefined,
    }),
  }
  return unruly
}
