import { request as httpsRequest } from 'node:https'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { certificateAuthority } from '../src/testing/certificates.ts'
import type { TestCertificate } from '../src/testing/certificates.ts'
import type { CallerView, CallerWithKey } from '../src/surface/api/caller-schemas.ts'
import { install, serving, showLogsOnFailure, train, until, type Installation } from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/*
 * Callers through the whole system: two gateways behind one port with TLS, which ask for certificates; keys that come
 * and go within a second, and pins that lead to a version.
 */

const authority = certificateAuthority('the test authority')
const server = authority.issue({ commonName: 'localhost' })
const site = authority.issue({ commonName: 'site.example' })
const stranger = certificateAuthority('somebody else').issue({ commonName: 'site.example' })
const tls = { certificate: 'tls/server.pem', key: 'tls/server.key', clientAuthorities: 'tls/clients.pem' }

const guarded: Installation = install({
  ...quickFiles({ gateway: { processes: 2, tls }, models: { m: quickModel, other: quickModel } }),
  'tls/server.pem': server.certificate,
  'tls/server.key': server.key,
  'tls/clients.pem': authority.certificate,
})
let port: number

beforeAll(async () => {
  await guarded.up()
  await train(guarded, 'm')
  await serving(guarded, 'm', 'm@1')
  await train(guarded, 'm', { file: 'better.onnx' })
  port = (await serving(guarded, 'm', 'm@2')).port!
})
beforeEach(() => showLogsOnFailure(guarded))
afterAll(() => guarded.remove())

interface Answer {
  status: number
  version: string | null
  challenge: string | null
  error: string | null
}

/** One prediction over a connection of its own, which may be either gateway's. */
function ask(how: { key?: string; certificate?: TestCertificate; endpoint?: string } = {}): Promise<Answer> {
  const { key, certificate = site, endpoint = 'm' } = how
  return new Promise((resolve, reject) => {
    const asked = httpsRequest(
      {
        host: '127.0.0.1',
        servername: 'localhost',
        port,
        method: 'POST',
        path: `/v2/models/${endpoint}/infer`,
        ca: authority.certificate,
        cert: certificate.certificate,
        key: certificate.key,
        agent: false,
        headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
        timeout: 20_000,
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (piece: string) => (text += piece))
        response.on('end', () => {
          const body = JSON.parse(text) as { model_version?: string; error?: string }
          resolve({
            status: response.statusCode!,
            version: body.model_version ?? null,
            challenge: response.headers['www-authenticate'] ?? null,
            error: body.error ?? null,
          })
        })
      },
    )
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', reject)
    asked.end(JSON.stringify({ inputs: row(1, 0) }))
  })
}

/** Of so many requests, spread over both gateways: the different outcomes there are. */
const outcomes = async (how: Parameters<typeof ask>[0], count = 12) =>
  new Set((await Promise.all(Array.from({ length: count }, () => ask(how)))).map((a) => `${a.status} ${a.version}`))

/** What has changed holds at every gateway within a second, and a little more on a machine that is busy. */
const within = async (how: Parameters<typeof ask>[0], expected: string) => {
  const began = performance.now()
  await until(`every gateway to answer ${expected}`, async () => {
    const seen = await outcomes(how)
    return seen.size === 1 && seen.has(expected)
  })
  return performance.now() - began
}

describe('callers', () => {
  it('without a key are anonymous on this machine, and shown no certificate they are not let in at all', async () => {
    expect(await outcomes({})).toEqual(new Set(['200 2']))
    await expect(ask({ certificate: stranger })).rejects.toThrow(/certificate|SSL|ECONNRESET|socket hang up/i)
  })

  it('are known by a key until it is revoked, each within a second', async () => {
    const { key } = await guarded.json<CallerWithKey>(['callers', 'add', 'app', '--endpoint', 'm'])
    expect(await within({ key: key! }, '200 2')).toBeLessThan(5_000)
    expect(await ask({ key: `${key}x` })).toMatchObject({ status: 401, challenge: expect.stringContaining('Bearer') })
    await until(
      'another endpoint to be refused',
      async () => (await ask({ key: key!, endpoint: 'other' })).status === 403,
    )

    const { key: next } = await guarded.json<CallerWithKey>(['callers', 'rotate', 'app', '--keep', '0s'])
    await within({ key: key! }, '401 null')
    await within({ key: next! }, '200 2')
    await guarded.json(['callers', 'revoke', 'app', '--why', 'a test'])
    expect(await within({ key: next! }, '401 null')).toBeLessThan(5_000)
  })

  it('are kept on a version by a pin, known by their certificate, and counted', async () => {
    await guarded.json(['callers', 'add', 'site', '--common-name', 'site.example', '--no-key'])
    expect(await outcomes({})).toEqual(new Set(['200 2']))
    await guarded.json(['pin', 'site', 'm', 'm@1', '--for', '7d'])
    await within({}, '200 1')
    await guarded.json(['unpin', 'site', 'm'])
    await within({}, '200 2')
    await until('it to be counted', async () => {
      const [caller] = await guarded.json<CallerView[]>(['callers'])
      return caller!.requests > 0 && caller!.lastUsedMs !== null
    })
  })

  it('keep their certificates when the server gets a new one, without a restart', async () => {
    const renewed = authority.issue({ commonName: 'localhost' })
    guarded.write('tls/server.key', renewed.key)
    guarded.write('tls/server.pem', renewed.certificate)
    await within({}, '200 2')
    const { processes } = await guarded.api.status.get()
    expect(processes.filter(({ kind }) => kind === 'gateway').map(({ state }) => state)).toEqual(['running', 'running'])
  })
})

it('is refused before anything is started where the files of TLS do not belong together', async () => {
  const wrong = install({
    ...quickFiles({ gateway: { tls: { certificate: 'a.pem', key: 'b.key' } }, models: { m: quickModel } }),
    'a.pem': server.certificate,
    'b.key': site.key,
  })
  try {
    const ended = await wrong.millrace(['up', '--port', '0'])
    expect(ended.code).not.toBe(0)
    expect(ended.stderr).toMatch(/TLS file .*b\.key can't be used/)
  } finally {
    await wrong.remove()
  }
})
