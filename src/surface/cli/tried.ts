import type { ReleaseView } from '../api/release-schemas.ts'

/** A release that is tried under live traffic may take days: it is told, and not waited for. */
export const isTried = (status: string | null): boolean =>
  status === 'shadowing' || status === 'canary' || status === 'held'

/** What to do next about a release that is tried. */
export function nextForTried({ endpoint, status }: Pick<ReleaseView, 'endpoint' | 'status'>): string[] {
  if (status === 'held')
    return [
      `  millrace canary ${endpoint}`,
      `  millrace canary ${endpoint} --promote --why "…"`,
      `  millrace canary ${endpoint} --stop --why "…"`,
    ]
  return [`  millrace canary ${endpoint} --watch`]
}
