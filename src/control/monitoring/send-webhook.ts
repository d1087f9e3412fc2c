import { messageOf } from '../../kernel/errors.ts'
import type { AlertMessage } from './notification.ts'

export type Delivery =
  | { kind: 'sent' }
  /** May pass later. */
  | { kind: 'retry'; why: string }
  /** Will not pass however often it is tried. */
  | { kind: 'refused'; why: string }

/**
 * Posts a message, once. Redirects are not followed: they would carry the message to an address that nobody declared.
 * The reason never holds more of the address than its host.
 */
export async function sendWebhook(url: string, message: AlertMessage, timeoutMs: number): Promise<Delivery> {
  const address = URL.parse(url)
  if (address === null || !['http:', 'https:'].includes(address.protocol))
    return { kind: 'refused', why: 'it is no http or https address' }
  const credentials = takeCredentials(address)
  try {
    const response = await fetch(address, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'millrace', ...credentials },
      body: JSON.stringify(message),
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    })
    // What it answers does not matter, and may never end.
    await response.body?.cancel()
    return judge(response.status)
  } catch (error) {
    const why = (error as Error).name === 'TimeoutError' ? `no answer within ${timeoutMs} ms` : reason(error)
    return { kind: 'retry', why }
  }
}

/**
 * Name and password of an address, as a header: `fetch` refuses an address that holds them, and says it with its reason.
 * @see RFC 7617
 */
function takeCredentials(address: URL): { authorization?: string } {
  const { username, password } = address
  if (username === '' && password === '') return {}
  address.username = ''
  address.password = ''
  const plain = [username, password].map(decoded).join(':')
  return { authorization: `Basic ${Buffer.from(plain, 'utf8').toString('base64')}` }
}

/** What is no percent-encoding means itself, as it does in the rest of an address. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function judge(status: number): Delivery {
  if (status >= 200 && status < 300) return { kind: 'sent' }
  if (status >= 300 && status < 400) return { kind: 'refused', why: `it redirects (${status}), which is not followed` }
  const why = `it answered ${status}`
  return status >= 500 || status === 408 || status === 429 ? { kind: 'retry', why } : { kind: 'refused', why }
}

function reason(error: unknown): string {
  const { cause } = error as { cause?: { code?: string } }
  return cause?.code ?? messageOf(error)
}
