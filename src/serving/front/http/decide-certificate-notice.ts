/** What has been told of a certificate so far. */
export type CertificateNotice = 'none' | 'soon' | 'expired'

export type CertificateNoticeDecision = { kind: 'none' } | { kind: 'soon' | 'expired'; why: string }

const DAY_MS = 24 * 60 * 60 * 1_000
/** Time enough to have another made by hand. */
const SOON_MS = 14 * DAY_MS

/**
 * Whether it is to be told now that a certificate ends: once a while before, once when it happens.
 * @param nowMs - real time, as clients judge a certificate by it
 */
export function decideCertificateNotice(
  validToMs: number,
  nowMs: number,
  told: CertificateNotice,
): CertificateNoticeDecision {
  const leftMs = validToMs - nowMs
  const at = new Date(validToMs).toISOString()
  if (leftMs <= 0) {
    return told === 'expired' ? { kind: 'none' } : { kind: 'expired', why: `the TLS certificate expired at ${at}` }
  }
  if (leftMs > SOON_MS || told !== 'none') return { kind: 'none' }
  const left = leftMs < DAY_MS ? 'in less than a day' : `in ${Math.floor(leftMs / DAY_MS)} days`
  return { kind: 'soon', why: `the TLS certificate expires ${left}, at ${at}` }
}
