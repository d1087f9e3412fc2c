import type { IncomingMessage } from 'node:http'

import { ApiUnauthorizedError } from './errors.ts'
import { randomSecret, sameSecret } from './token.ts'

/*
 * Who may speak to the control API over TCP. The unix socket needs none of it: its mode (0600) is the check.
 * Host is checked against DNS rebinding, Origin against pages of other sites; a token is needed on loopback too,
 * since any local user could run commands otherwise. A page opened by `millrace open` gets a cookie that reads only.
 */

const TICKET_MS = 60_000
const SESSION_MS = 3_600_000
const SECRETS_MAX = 100
const COOKIE = 'millrace_session'

export interface Admission {
  /** @throws ApiUnauthorizedError saying which check failed */
  admit(request: Pick<IncomingMessage, 'headers' | 'method'>): 'token' | 'cookie'
  /** A secret that opens one session within a minute. */
  issueTicket(): string
  /** @returns the Set-Cookie header, or null if the ticket is unknown, used or too old */
  redeem(ticket: string): string | null
  checkHost(request: Pick<IncomingMessage, 'headers'>): void
}

export function createAdmission(options: { token: string; hosts: string[]; nowMs: () => number }): Admission {
  const { token, nowMs } = options
  const hosts = new Set(options.hosts.map((h) => h.toLowerCase()))
  const tickets = expiringSet(TICKET_MS, nowMs)
  const sessions = expiringSet(SESSION_MS, nowMs)

  const checkHost: Admission['checkHost'] = ({ headers }) => {
    const host = (headers.host ?? '').toLowerCase()
    if (!hosts.has(host))
      throw refused(`The Host header '${host}' is not one of this server's names.`, `Use http://${options.hosts[0]}.`)
    const { origin } = headers
    if (origin !== undefined && !hosts.has(origin.toLowerCase().replace(/^https?:\/\//, '')))
      throw refused(`Requests from pages of ${origin} are refused.`, `Open the page by 'millrace open'.`)
  }

  return {
    checkHost,
    admit(request) {
      checkHost(request)
      const bearer = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
      if (bearer !== undefined) {
        if (sameSecret(bearer, token)) return 'token'
        throw refused(
          'The token is not the one of this installation.',
          'Take it from the file api-token in the data directory.',
        )
      }
      const session = cookieOf(request.headers.cookie)
      const reads = request.method === 'GET' || request.method === 'HEAD'
      if (session !== null && sessions.has(session)) {
        if (reads) return 'cookie'
        throw refused('The page may read only.', 'Use the CLI, or send the token.')
      }
      throw refused(
        'The control API needs a token over TCP.',
        "Send 'Authorization: Bearer <token>' with the token from the file api-token in the data directory, or run 'millrace open'.",
      )
    },
    issueTicket: () => tickets.add(),
    redeem(ticket) {
      if (!tickets.take(ticket)) return null
      return `${COOKIE}=${sessions.add()}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${SESSION_MS / 1_000}`
    },
  }
}

const refused = (message: string, fix: string) => new ApiUnauthorizedError(message, fix)

function cookieOf(header: string | undefined): string | null {
  const found = (header ?? '').split(/;\s*/).find((part) => part.startsWith(`${COOKIE}=`))
  return found === undefined ? null : found.slice(COOKIE.length + 1)
}

/** Secrets that expire; at most SECRETS_MAX, the oldest is forgotten first. */
function expiringSet(lifeMs: number, nowMs: () => number) {
  const untilMs = new Map<string, number>()
  const has = (secret: string) => (untilMs.get(secret) ?? -1) > nowMs()
  return {
    add(): string {
      const oldest = untilMs.keys().next().value
      if (untilMs.size >= SECRETS_MAX && oldest !== undefined) untilMs.delete(oldest)
      const secret = randomSecret()
      untilMs.set(secret, nowMs() + lifeMs)
      return secret
    },
    has,
    take(secret: string): boolean {
      const valid = has(secret)
      untilMs.delete(secret)
      return valid
    },
  }
}
