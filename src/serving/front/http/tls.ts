import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import { createSecureContext, createServer } from 'node:tls'
import type { SecureContextOptions, Server as TlsServer } from 'node:tls'
import { messageOf } from '../../../kernel/errors.ts'
import type { Tell } from '../tell.ts'
import { decideCertificateNotice } from './decide-certificate-notice.ts'
import type { CertificateNotice } from './decide-certificate-notice.ts'
import { TlsFilesError } from './errors.ts'
import type { HttpFrontLimits, TlsFiles } from './http-front.ts'

const LOOK_EVERY_MS = 1_000

export interface WatchedTlsServer {
  server: Server
  stopWatching(): void
}

/**
 * TLS 1.2 and later. The files are looked at every second; new ones hold for the connections that come after, and files
 * that can't be used, or whose certificate has expired, are told once and leave the ones before in use.
 * @throws TlsFilesError if they can't be used from the start
 */
export function createTlsServer(
  files: TlsFiles,
  limits: HttpFrontLimits,
  tell: Tell,
  accept: (socket: Socket) => void,
): WatchedTlsServer {
  const material = readMaterial(files)
  const options = {
    ...material.context,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    requestCert: files.clientAuthorities !== undefined,
    rejectUnauthorized: true,
    handshakeTimeout: limits.headMs,
    allowHalfOpen: true,
    noDelay: true,
  } as const
  const server = createServer(options, accept)
  server.on('tlsClientError', (_error, socket) => socket.destroy()) // scanners and plain HTTP: not worth a line each
  const watch = new CertificateWatch(files, material, server, tell)
  const timer = setInterval(() => watch.look(), LOOK_EVERY_MS)
  timer.unref()
  return { server, stopWatching: () => clearInterval(timer) }
}

/**
 * For servers that this file does not make: what the files hold now, and again whenever they change.
 * @throws TlsFilesError if they can't be used from the start
 */
export function watchTlsFiles(
  files: TlsFiles,
  tell: Tell,
  onChange: (context: SecureContextOptions) => void,
): { context: SecureContextOptions; stopWatching: () => void } {
  const material = readMaterial(files)
  const watch = new CertificateWatch(files, material, { setSecureContext: onChange }, tell)
  const timer = setInterval(() => watch.look(), LOOK_EVERY_MS)
  timer.unref()
  return { context: material.context, stopWatching: () => clearInterval(timer) }
}

interface Material {
  context: SecureContextOptions
  /** Changes whenever one of the files does. */
  stamp: string
  validFromMs: number
  validToMs: number
}

class CertificateWatch {
  readonly #files: TlsFiles
  readonly #server: Pick<TlsServer, 'setSecureContext'>
  readonly #tell: Tell
  #material: Material
  /** Of the files that were looked at last, usable or not. */
  #stamp: string
  #told: CertificateNotice = 'none'

  constructor(files: TlsFiles, material: Material, server: Pick<TlsServer, 'setSecureContext'>, tell: Tell) {
    this.#files = files
    this.#material = material
    this.#stamp = material.stamp
    this.#server = server
    this.#tell = tell
    this.#tellExpiry()
  }

  look(): void {
    const stamp = stampOf(this.#files)
    if (stamp !== this.#stamp) this.#renew(stamp)
    this.#tellExpiry()
  }

  #renew(stamp: string): void {
    this.#stamp = stamp
    try {
      this.#material = better(this.#material, readMaterial(this.#files), this.#files, Date.now())
      this.#server.setSecureContext({ ...this.#material.context, minVersion: 'TLSv1.2' })
      this.#told = 'none'
      const validTo = new Date(this.#material.validToMs).toISOString()
      this.#tell('info', 'the TLS certificate was read anew', { certificate: this.#files.certificate, validTo })
    } catch (error) {
      const facts = { error: messageOf(error) }
      this.#tell('error', 'the new TLS files can not be used; the ones before stay in use', facts)
    }
  }

  #tellExpiry(): void {
    const notice = decideCertificateNotice(this.#material.validToMs, Date.now(), this.#told)
    if (notice.kind === 'none') return
    this.#told = notice.kind
    this.#tell(notice.kind === 'expired' ? 'error' : 'warn', notice.why, { certificate: this.#files.certificate })
  }
}

/**
 * Clients would refuse a certificate that has expired, or does not hold yet: one that holds is kept before it.
 * @throws TlsFilesError where the next one is worse than the present one
 */
function better(present: Material, next: Material, { certificate }: TlsFiles, nowMs: number): Material {
  if (holds(next, nowMs) || !holds(present, nowMs)) return next
  const [from, to] = [next.validFromMs, next.validToMs].map((ms) => new Date(ms).toISOString())
  throw new TlsFilesError(certificate, `it holds from ${from} to ${to}, and the one in use holds now`)
}

function holds({ validFromMs, validToMs }: Material, nowMs: number): boolean {
  return validFromMs <= nowMs && nowMs < validToMs
}

/**
 * Reads the files as a server would, for those who want to know before they start one.
 * @throws TlsFilesError naming the file
 */
export function checkTlsFiles(files: TlsFiles): { validToMs: number } {
  return { validToMs: readMaterial(files).validToMs }
}

/** @throws TlsFilesError naming the file */
function readMaterial(files: TlsFiles): Material {
  const stamp = stampOf(files)
  const cert = read(files.certificate)
  const key = read(files.key)
  const ca = files.clientAuthorities === undefined ? undefined : read(files.clientAuthorities)
  const certificate = checked(files.certificate, () => new X509Certificate(cert))
  if (files.clientAuthorities !== undefined) checked(files.clientAuthorities, () => new X509Certificate(ca as Buffer))
  const context = ca === undefined ? { cert, key } : { cert, key, ca }
  checked(files.key, () => createSecureContext(context))
  const { validFromDate, validToDate } = certificate
  return { context, stamp, validFromMs: validFromDate.getTime(), validToMs: validToDate.getTime() }
}

function read(path: string): Buffer {
  return checked(path, () => readFileSync(path))
}

function checked<T>(path: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw new TlsFilesError(path, messageOf(error), error)
  }
}

/** A file that is being replaced may be gone for a moment: that is a change too. */
function stampOf({ certificate, key, clientAuthorities }: TlsFiles): string {
  const paths = [certificate, key, clientAuthorities ?? certificate]
  return paths
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false, bigint: true })
      return stat === undefined ? 'none' : `${stat.ino} ${stat.size} ${stat.mtimeNs}`
    })
    .join(' ')
}
