import { describe, expect, it } from 'vitest'
import { decideCertificateNotice } from './decide-certificate-notice.ts'

const DAY_MS = 86_400_000
const endMs = Date.UTC(2030, 0, 31)

describe('a certificate', () => {
  it('that holds for long is not worth a word', () => {
    expect(decideCertificateNotice(endMs, endMs - 15 * DAY_MS, 'none')).toEqual({ kind: 'none' })
  })

  it('is told once a fortnight before it ends, and once when it has ended', () => {
    expect(decideCertificateNotice(endMs, endMs - 13.5 * DAY_MS, 'none')).toEqual({
      kind: 'soon',
      why: 'the TLS certificate expires in 13 days, at 2030-01-31T00:00:00.000Z',
    })
    expect(decideCertificateNotice(endMs, endMs - 5, 'none')).toEqual({
      kind: 'soon',
      why: 'the TLS certificate expires in less than a day, at 2030-01-31T00:00:00.000Z',
    })
    expect(decideCertificateNotice(endMs, endMs - 1, 'soon')).toEqual({ kind: 'none' })
    expect(decideCertificateNotice(endMs, endMs, 'soon')).toEqual({
      kind: 'expired',
      why: 'the TLS certificate expired at 2030-01-31T00:00:00.000Z',
    })
    expect(decideCertificateNotice(endMs, endMs + DAY_MS, 'expired')).toEqual({ kind: 'none' })
  })
})
