import { describe, expect, it } from 'vitest'
import { parseOptions } from './gateway-options.ts'

const complete = {
  gatewayId: 'gateway',
  token: 't',
  host: '127.0.0.1',
  port: 7080,
  dataDir: '/data',
  controlSocket: '/control.sock',
  socketPath: '/gateway.sock',
}

describe('the options of a gateway process', () => {
  it('need only what has no default', () => {
    expect(parseOptions(JSON.stringify(complete), 'options.json')).toEqual({
      ...complete,
      serverName: 'millrace',
      spool: {},
      drain: { idleMs: 500, limitMs: 15_000 },
      limits: {},
      accessLogPercent: 0,
      grpcPort: null,
    })
  })

  it('may set the spool and the drain', () => {
    const given = { ...complete, spool: { minFreeBytes: 5 }, drain: { limitMs: 9 } }
    expect(parseOptions(JSON.stringify(given), 'options.json')).toMatchObject({
      spool: { minFreeBytes: 5 },
      drain: { idleMs: 500, limitMs: 9 },
    })
  })

  it('may say how the data port is shared, protected and limited', () => {
    const tls = { certificate: '/a.pem', key: '/a.key', clientAuthorities: '/ca.pem' }
    const given = { ...complete, shared: true, tls, limits: { connections: 5, headBytes: 2_048 }, grpcPort: 0 }
    expect(parseOptions(JSON.stringify(given), 'options.json')).toMatchObject(given)
  })

  it.each([
    [null, "the file can't be read"],
    ['{', 'it is not JSON'],
    ['7', 'it is not an object'],
    [JSON.stringify({ ...complete, token: undefined }), "'token' is missing"],
    [JSON.stringify({ ...complete, port: 70_000 }), "'port' must be a whole number from 0 to 65535, not 70000"],
    [JSON.stringify({ ...complete, spool: { sealMs: 'x' } }), "'spool.sealMs' must be a number from 0"],
    [JSON.stringify({ ...complete, limits: { requests: -1 } }), "'limits.requests' must be a number from 0"],
    [JSON.stringify({ ...complete, tls: { key: '/k' } }), "'tls' must name the files of a certificate and its key"],
    [JSON.stringify({ ...complete, tls: null }), "'tls' must name the files of a certificate and its key"],
    [JSON.stringify({ ...complete, grpcPort: 'x' }), '\'grpcPort\' must be a whole number from 0 to 65535, not "x"'],
    [JSON.stringify({ ...complete, shared: 1 }), "'shared' must be true or false"],
    [JSON.stringify({ ...complete, accessLogPercent: 101 }), "'accessLogPercent' must be a number from 0 to 100"],
  ])('are refused with the field: %s', (text, why) => {
    expect(() => parseOptions(text, 'options.json')).toThrow(
      `The gateway's options in options.json can't be used: ${why}`,
    )
  })
})
