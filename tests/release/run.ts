import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** `npm run test:release [-- vitest's options]`: the full form of release-load.test.ts, then its figures. */
const root = resolve(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'millrace-release-figures-'))
const figures = join(folder, 'figures.md')
const vitest = [
  join(root, 'node_modules/vitest/vitest.mjs'),
  'run',
  '--project',
  'slow-alone',
  'tests/release-load.test.ts',
]
const full = {
  MILLRACE_RELEASES: '100',
  MILLRACE_CANARIES: '10',
  MILLRACE_ROLLBACKS: '20',
  MILLRACE_DISABLES: '5',
  MILLRACE_RETIREMENTS: '50',
  MILLRACE_REQUESTS_PER_SECOND: '500',
  MILLRACE_RELEASE_FLIP_MS: '1000',
}
const { status } = spawnSync(process.execPath, [...vitest, ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...full, ...process.env, MILLRACE_RELEASE_FIGURES: figures },
})
if (existsSync(figures)) console.log(`\n${readFileSync(figures, 'utf8')}\n`)
rmSync(folder, { recursive: true, force: true })
process.exit(status ?? 1)
