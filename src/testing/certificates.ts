import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/*
 * X.509 certificates for tests, made of node:crypto alone: no openssl is needed, and they may have expired already.
 * Written as DER by hand. @see RFC 5280, 4.1; ITU-T X.690
 */

export interface TestCertificate {
  certificate: string
  key: string
}

export interface CertificateAuthority extends TestCertificate {
  issue(facts: CertificateFacts): TestCertificate
}

export interface CertificateFacts {
  commonName: string
  /** Default: an hour ago. */
  fromMs?: number
  /** Default: in a year. */
  toMs?: number
}

const HOUR_MS = 3_600_000
const YEAR_MS = 365 * 24 * HOUR_MS

export function certificateAuthority(commonName: string): CertificateAuthority {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const made = (facts: CertificateFacts, subjectKey: KeyObject, isAuthority: boolean): string => {
    const { fromMs = Date.now() - HOUR_MS, toMs = Date.now() + YEAR_MS } = facts
    const body = sequence(
      tagged(0, integer(Buffer.from([2]))),
      integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      ECDSA_SHA256,
      nameOf(commonName),
      sequence(time(fromMs), time(toMs)),
      nameOf(facts.commonName),
      subjectKey.export({ type: 'spki', format: 'der' }),
      tagged(3, sequence(basicConstraints(isAuthority), ...(isAuthority ? [] : [localNames]))),
    )
    return pem('CERTIFICATE', sequence(body, ECDSA_SHA256, bits(sign('sha256', body, privateKey))))
  }
  return {
    certificate: made({ commonName }, publicKey, true),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    issue(facts) {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      return {
        certificate: made(facts, pair.publicKey, false),
        key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
      }
    },
  }
}

// ── DER ──

const SEQUENCE = 0x30
const SET = 0x31

function der(tag: number, content: Buffer): Buffer {
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content])
  const size = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

function sequence(...parts: Buffer[]): Buffer {
  return der(SEQUENCE, Buffer.concat(parts))
}

/** @param bytes - the first below 0x80, so that it is positive */
function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes)
}

function bits(content: Buffer): Buffer {
  return der(0x03, Buffer.concat([Buffer.from([0]), content]))
}

function tagged(number: number, content: Buffer): Buffer {
  return der(0xa0 + number, content)
}

/** @param hex - the encoded arcs */
function objectId(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'))
}

const ECDSA_SHA256 = sequence(objectId('2a8648ce3d040302'))

function nameOf(commonName: string): Buffer {
  const attribute = sequence(objectId('550403'), der(0x0c, Buffer.from(commonName)))
  return sequence(der(SET, attribute))
}

/** UTCTime: `YYMMDDhhmmssZ`. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\.\d+|\D/g, '')
  return der(0x17, Buffer.from(`${digits.slice(2)}Z`))
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  const critical = isCritical ? [der(0x01, Buffer.from([0xff]))] : []
  return sequence(objectId(id), ...critical, der(0x04, value))
}

function basicConstraints(isAuthority: boolean): Buffer {
  return extension('551d13', true, sequence(...(isAuthority ? [der(0x01, Buffer.from([0xff]))] : [])))
}

/** localhost and 127.0.0.1. */
const localNames = extension(
  '551d11',
  false,
  sequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1]))),
)

function pem(label: string, content: Buffer): string {
  const lines = content.toString('base64').match(/.{1,64}/g) as string[]
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
