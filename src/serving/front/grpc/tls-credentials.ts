import type { SecureContextOptions } from 'node:tls'
import { experimental } from '@grpc/grpc-js'
import type { ServerCredentials } from '@grpc/grpc-js'
import type { TlsFiles } from '../http/http-front.ts'
import { watchTlsFiles } from '../http/tls.ts'
import type { Tell } from '../tell.ts'

type CaListener = experimental.CaCertificateUpdateListener
type IdentityListener = experimental.IdentityCertificateUpdateListener

/**
 * Certificates that are read anew when their files change, as on the HTTP port. The library's own watcher of files
 * refuses connections until its first look, and tells nobody of files that can't be used.
 * @param handshakeMs - a client that has not said who it is by then is left
 * @throws TlsFilesError
 */
export function tlsCredentials(
  files: TlsFiles,
  handshakeMs: number,
  tell: Tell,
): { credentials: ServerCredentials; stopWatching: () => void } {
  const provider = new Certificates()
  const { context, stopWatching } = watchTlsFiles(files, tell, (renewed) => provider.use(renewed))
  provider.use(context)
  const authorities = files.clientAuthorities === undefined ? null : provider
  // The types name the first two the other way round.
  const make = experimental.createCertificateProviderServerCredentials
  const credentials = make(provider, authorities, authorities !== null)
  // The library has no option for it: by itself its server waits for two minutes, and each of them takes a connection.
  const options = { ...credentials._getConstructorOptions(), handshakeTimeout: handshakeMs }
  credentials._getConstructorOptions = () => options
  return { credentials, stopWatching }
}

class Certificates implements experimental.CertificateProvider {
  readonly #ca = new Set<CaListener>()
  readonly #identity = new Set<IdentityListener>()
  #context: SecureContextOptions = {}

  use(context: SecureContextOptions): void {
    this.#context = context
    for (const listener of this.#ca) this.#tellCa(listener)
    for (const listener of this.#identity) this.#tellIdentity(listener)
  }

  addCaCertificateListener(listener: CaListener): void {
    this.#ca.add(listener)
    queueMicrotask(() => this.#tellCa(listener)) // the library is deaf until this call has returned
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#ca.delete(listener)
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identity.add(listener)
    queueMicrotask(() => this.#tellIdentity(listener))
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identity.delete(listener)
  }

  #tellCa(listener: CaListener): void {
    const { ca } = this.#context
    if (ca !== undefined) listener({ caCertificate: ca as Buffer })
  }

  #tellIdentity(listener: IdentityListener): void {
    const { cert, key } = this.#context
    listener({ certificate: cert as Buffer, privateKey: key as Buffer })
  }
}
