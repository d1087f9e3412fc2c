import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export const packageRoot = resolve(import.meta.dirname, '../..')

let built: string | null = null

/**
 * The package as users have it, built anew and copied to a folder of its own, so that a build that somebody else starts
 * meanwhile does not take the files from under running processes.
 * @returns path of its `cli.js`
 */
export function builtCli(): string {
  if (built === null) {
    execFileSync(process.execPath, ['scripts/build.ts'], { cwd: packageRoot, stdio: ['ignore', 2, 2] })
    const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-package-'))
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
    for (const name of ['dist', 'templates', 'package.json']) {
      cpSync(join(packageRoot, name), join(folder, name), { recursive: true })
    }
    symlinkSync(join(packageRoot, 'node_modules'), join(folder, 'node_modules'))
    built = join(folder, 'dist', 'cli.js')
  }
  return built
}
