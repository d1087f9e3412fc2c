import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { certificateAuthority } from '../../../testing/certificates.ts'
import type { TestCertificate } from '../../../testing/certificates.ts'
import { openFront, until } from '../../../testing/front-lab.ts'
import type { FrontLab } from '../../../testing/front-lab.ts'
import { ownMsOf } from '../../../testing/stopwatch.ts'
import { jsonAnswer } from '../answer.ts'
import type { HttpFrontLimits, TlsFiles } from './http-front.ts'

const folder = mkdtempSync(join(tmpdir(), 'mr-tls-'))
const opened: FrontLab[] = []
afterEach(async () => {
  for (const { front } of opened.splice(0)) await front.close()
})
afterAll(() => rmSync(folder, { recursive: true }))

const authority = certificateAuthority('test authority')
const clients = certificateAuthority('clients')

/** As a careful administrator replaces a file: at once. */
function write(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
  return path
}

function writePair({ certificate, key }: TestCertificate): TlsFiles {
  return { certificate: write('server.crt', certificate), key: write('server.key', key) }
}

async function open(tls: TlsFiles, limits: Partial<HttpFrontLimits> = {}): Promise<FrontLab> {
  const lab = await openFront({ serve: ({ peer, body }) => jsonAnswer(200, { ...peer, bytes: body.length }) }, limits, {
    kind: 'port',
    host: '127.0.0.1',
    port: 0,
    tls,
  })
  opened.push(lab)
  return lab
}

interface Asked {
  json: { commonName: string | null; bytes: number; isLocal: boolean }
  /** Of the server. */
  commonName: string
}

function ask(port: number, as?: TestCertificate, body = ''): Promise<Asked> {
  const options = { ca: authority.certificate, cert: as?.certificate, key: as?.key, agent: false, method: 'POST' }
  return new Promise((resolve, reject) => {
    const asked = request({ host: 'localhost', port, family: 4, ...options }, (response) => {
      let text = ''
      const socket = response.socket as TLSSocket
      const commonName = String(socket.getPeerCertificate().subject.CN)
      response.on('data', (part: Buffer) => (text += part.toString()))
      response.on('end', () => resolve({ json: JSON.parse(text) as Asked['json'], commonName }))
      response.on('error', reject)
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

describe('TLS', () => {
  it('serves as HTTP does, to clients that trust the certificate', async () => {
    const { port } = await open(writePair(authority.issue({ commonName: 'one' })))
    const { json, commonName } = await ask(port, undefined, 'x'.repeat(300_000))
    expect(commonName).toBe('one')
    expect(json).toMatchObject({ bytes: 300_000, commonName: null, isLocal: true })
  })

  it('is not spoken with clients that speak plain HTTP, an older TLS or HTTP/2 alone, and others are served on', async () => {
    const { port } = await open(writePair(authority.issue({ commonName: 'one' })))
    const heard = await new Promise<string>((resolve) => {
      let text = ''
      const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))
      socket.on('data', (bytes) => (text += bytes.toString('latin1')))
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(text))
    })
    expect(heard).not.toContain('HTTP/1.1 200')
    for (const options of [{ maxVersion: 'TLSv1.1' }, { ALPNProtocols: ['h2'] }] as const) {
      await expect(
        new Promise((resolve, reject) => {
          const socket = connectTls({ port, host: '127.0.0.1', ca: authority.certificate, ...options }, () =>
            resolve('connected'),
          )
          socket.on('error', reject)
        }),
      ).rejects.toThrow(/protocol|alert|version/i)
    }
    expect((await ask(port)).commonName).toBe('one')
  })

  it('cuts off clients that never shake hands', async () => {
    const { port } = await open(writePair(authority.issue({ commonName: 'one' })), { headMs: 200 })
    const cutOff = () =>
      new Promise((resolve) =>
        connect(port, '127.0.0.1')
          .on('error', () => undefined)
          .on('close', resolve),
      )
    expect(await ownMsOf(cutOff)).toBeLessThan(1_000)
  })
})

describe('client certificates', () => {
  const files = (): TlsFiles => ({
    ...writePair(authority.issue({ commonName: 'one' })),
    clientAuthorities: write('clients.crt', clients.certificate),
  })

  it('tell who the caller is', async () => {
    const { port } = await open(files())
    expect((await ask(port, clients.issue({ commonName: 'billing' }))).json.commonName).toBe('billing')
  })

  it('must be shown, be of the right authority, and not have expired', async () => {
    const { port } = await open(files())
    const expired = clients.issue({ commonName: 'old', fromMs: Date.now() - 7_200_000, toMs: Date.now() - 3_600_000 })
    for (const shown of [undefined, authority.issue({ commonName: 'stranger' }), expired]) {
      await expect(ask(port, shown)).rejects.toThrow(/alert|reset|hang up|closed/i)
    }
    expect((await ask(port, clients.issue({ commonName: 'billing' }))).json.commonName).toBe('billing')
  })
})

describe('certificate files', () => {
  it('that change are read anew, without a connection being lost', async () => {
    const { port, told } = await open(writePair(authority.issue({ commonName: 'one' })))
    expect((await ask(port)).commonName).toBe('one')
    writePair(authority.issue({ commonName: 'two' }))
    await until(() => told.some((line) => line.includes('read anew')), 'the new certificate')
    expect((await ask(port)).commonName).toBe('two')
  })

  it('that are broken leave those before in use, are told once, and can be mended', async () => {
    const files = writePair(authority.issue({ commonName: 'one' }))
    const { port, told } = await open(files)
    write('server.crt', 'no certificate')
    await until(() => told.length > 0, 'the complaint')
    expect(told[0]).toMatch(/^error the new TLS files can not be used; the ones before stay in use .*server\.crt/)
    expect((await ask(port)).commonName).toBe('one')
    // A new certificate whose key has not come yet is as bad.
    const next = authority.issue({ commonName: 'two' })
    write('server.crt', next.certificate)
    await until(() => told.length > 1, 'the next complaint')
    expect(told[1]).toMatch(/server\.key/)
    expect((await ask(port)).commonName).toBe('one')
    write('server.key', next.key)
    await until(() => told.length > 2, 'the new certificate')
    expect(told[2]).toMatch(/^info the TLS certificate was read anew/)
    expect((await ask(port)).commonName).toBe('two')
  })

  it('whose certificate has expired, or does not hold yet, leave one in use that holds', async () => {
    const { port, told } = await open(writePair(authority.issue({ commonName: 'one' })))
    const [hourMs, nowMs] = [3_600_000, Date.now()]
    writePair(authority.issue({ commonName: 'old', fromMs: nowMs - 2 * hourMs, toMs: nowMs - hourMs }))
    await until(() => told.some((line) => /^error .*server\.crt.*the one in use holds now/.test(line)), 'the complaint')
    expect((await ask(port)).commonName).toBe('one')
    writePair(authority.issue({ commonName: 'early', fromMs: nowMs + hourMs }))
    await until(() => told.filter((line) => /the one in use holds now/.test(line)).length > 1, 'the next complaint')
    expect((await ask(port)).commonName).toBe('one')
    writePair(authority.issue({ commonName: 'two' }))
    await until(() => told.some((line) => line.includes('read anew')), 'the new certificate')
    expect((await ask(port)).commonName).toBe('two')
  })

  it('that can not be used from the start are named', async () => {
    const pair = writePair(authority.issue({ commonName: 'one' }))
    const other = write('other.key', authority.issue({ commonName: 'other' }).key)
    await expect(open({ ...pair, certificate: join(folder, 'none.crt') })).rejects.toMatchObject({
      code: 'MR_TLS_FILES',
      message: expect.stringContaining('none.crt'),
    })
    await expect(open({ ...pair, key: other })).rejects.toMatchObject({
      code: 'MR_TLS_FILES',
      message: expect.stringContaining('other.key'),
    })
  })

  it('whose certificate ends soon or has ended are told', async () => {
    const soon = await open(writePair(authority.issue({ commonName: 'one', toMs: Date.now() + 3 * 86_400_000 })))
    expect(soon.told).toEqual([expect.stringMatching(/^warn the TLS certificate expires in 2 days, at /)])
    const past = { fromMs: Date.now() - 7_200_000, toMs: Date.now() - 3_600_000 }
    const ended = await open(writePair(authority.issue({ commonName: 'one', ...past })))
    expect(ended.told).toEqual([expect.stringMatching(/^error the TLS certificate expired at /)])
  })
})
