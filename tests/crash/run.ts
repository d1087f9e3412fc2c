import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** `npm run test:crash [-- vitest's options]`: runs the suite, then prints its figures. */
const root = resolve(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'millrace-crash-figures-'))
const figures = join(folder, 'figures.md')
const vitest = [
  join(root, 'node_modules/vitest/vitest.mjs'),
  'run',
  '--project',
  'crash',
  '--disable-console-intercept',
]
const { status } = spawnSync(process.execPath, [...vitest, ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, MILLRACE_CRASH_FIGURES: figures },
})
if (existsSync(figures)) console.log(`\n${readFileSync(figures, 'utf8')}\n`)
rmSync(folder, { recursive: true, force: true })
process.exit(status ?? 1)
