import type { VersionView } from '../api/version-schemas.ts'

/**
 * What a person may do about a version that was not released by itself.
 * @param verdict - of the gate, or what became of the version: `refused`, `spare`, `awaiting-approval`
 */
export function nextFor(ref: string, verdict: string): string[] {
  switch (verdict) {
    case 'failed':
    case 'inconclusive':
    case 'error':
    case 'refused':
      return [`  millrace gate show ${ref}`, `  millrace approve ${ref} --why "…"   lets it through all the same`]
    case 'awaiting-approval':
      return [`  millrace approve ${ref} --why "…"`]
    case 'spare':
      return [`  millrace release ${ref} --why "…"   releases it all the same`]
    default:
      return []
  }
}

/** What `nextFor` goes by: one that was refused by a person is not offered again. */
export function verdictOn({ release, gate }: Pick<VersionView, 'release' | 'gate'>): string {
  if (release !== 'none') return release
  return gate === null || gate.approval !== null ? '' : (gate.verdict ?? '')
}
