import path from 'node:path'

import type { GatewayConfig } from '../../config/project.ts'
import { decideCertificateNotice } from '../../serving/front/http/decide-certificate-notice.ts'
import type { TlsFiles } from '../../serving/front/http/http-front.ts'
import { checkTlsFiles } from '../../serving/front/http/tls.ts'

/** As declared, with absolute paths; null: plain HTTP. */
export function tlsFilesOf(root: string, tls: GatewayConfig['tls']): TlsFiles | null {
  if (tls === null) return null
  const { certificate, key, clientAuthorities } = tls
  const files = { certificate: path.resolve(root, certificate), key: path.resolve(root, key) }
  return clientAuthorities === null ? files : { ...files, clientAuthorities: path.resolve(root, clientAuthorities) }
}

/**
 * Before anything is started: whether the gateway will be able to use its files.
 * @returns what people should know of the certificate; null: nothing
 * @throws TlsFilesError naming the file
 */
export function checkTls(root: string, tls: GatewayConfig['tls'], nowMs: number): string | null {
  const files = tlsFilesOf(root, tls)
  if (files === null) return null
  const notice = decideCertificateNotice(checkTlsFiles(files).validToMs, nowMs, 'none')
  return notice.kind === 'none' ? null : notice.why
}
