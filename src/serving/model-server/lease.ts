import { Agent, request } from 'node:http'
import { LEASE_RENEW_MS } from '../../kernel/contract/routing.ts'
import type { Lease } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'

export interface LeaseKeeper {
  /** Tell the control plane now, because something has changed. */
  renewNow(): void
  stop(): void
}

export interface LeaseOptions {
  /** The control plane's unix socket. */
  controlSocket: string
  /** The replica as it is at this moment. */
  describe: () => Lease
  /** Asked to drain; may come more than once. */
  onDrain: () => void
  /** The control plane came into reach or went out of it: told once per change. */
  onContact: (reached: boolean, why: string) => void
  renewMs?: number
  timeoutMs?: number
}

/**
 * Renews the lease for as long as the process lives. Serving never depends on it: while the control plane is away
 * the replica goes on, and the next control plane finds it by its next renewal.
 */
export function keepLease(options: LeaseOptions): LeaseKeeper {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  let reached: boolean | null = null
  let busy = false
  let again = false
  let stopped = false

  const contact = (now: boolean, why: string): void => {
    if (reached !== now) options.onContact(now, why)
    reached = now
  }
  const renew = async (): Promise<void> => {
    if (stopped) return
    if (busy) {
      again = true // what has changed since must not wait for the next tick
      return
    }
    busy = true
    try {
      const goal = await postLease(options.controlSocket, agent, options.describe(), options.timeoutMs ?? 1_000)
      contact(true, 'lease renewed')
      if (goal === 'drain' && !stopped) options.onDrain()
    } catch (error) {
      contact(false, messageOf(error))
    }
    busy = false
    if (again) {
      again = false
      void renew()
    }
  }

  const timer = setInterval(() => void renew(), options.renewMs ?? LEASE_RENEW_MS)
  void renew()
  return {
    renewNow: () => void renew(),
    stop: () => {
      stopped = true
      clearInterval(timer)
      agent.destroy()
    },
  }
}

const MAX_ANSWER_BYTES = 65_536

function postLease(socketPath: string, agent: Agent, lease: Lease, timeoutMs: number): Promise<'run' | 'drain'> {
  const body = JSON.stringify(lease)
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const call = request({ socketPath, agent, method: 'POST', path: '/internal/lease', headers }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (text.length > MAX_ANSWER_BYTES)
          call.destroy(new Error(`the control plane's answer has more than ${MAX_ANSWER_BYTES} bytes`))
      })
      response.on('error', reject)
      response.on('end', () => {
        try {
          resolve(goalIn(response.statusCode ?? 0, text))
        } catch (error) {
          reject(error)
        }
      })
    })
    const timer = setTimeout(
      () => call.destroy(new Error(`no answer from the control plane in ${timeoutMs} ms`)),
      timeoutMs,
    )
    call.on('close', () => clearTimeout(timer))
    call.on('error', reject)
    call.end(body)
  })
}

function goalIn(status: number, text: string): 'run' | 'drain' {
  if (status !== 200) throw new Error(`the control plane answered ${status}: ${text.slice(0, 200)}`)
  const { goal } = JSON.parse(text) as { goal?: unknown }
  if (goal !== 'run' && goal !== 'drain') throw new Error(`the control plane answered ${text.slice(0, 200)}`)
  return goal
}
