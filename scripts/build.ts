import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

/**
 * Makes dist/: one bundle for each process, sharing chunks, so that a process starts by reading a few files and not a
 * few hundred; and the types of what a configuration imports. Packages that are JavaScript and nothing else are bundled
 * too, with their licences beside; those with binaries, workers or files of their own stay outside.
 */
const entries = {
  index: 'src/index.ts',
  cli: 'src/surface/cli/main.ts',
  'processes/control-plane': 'src/processes/control-plane.ts',
  'processes/gateway': 'src/processes/gateway.ts',
  'processes/model-server': 'src/processes/model-server.ts',
  'processes/gather-module': 'src/processes/gather-module.ts',
  'processes/model-run': 'src/processes/model-run.ts',
  'processes/job': 'src/processes/job.ts',
  'processes/step-starter': 'src/processes/step-starter.ts',
  'config/evaluate-config': 'src/config/evaluate-config.ts',
}

const bundled = [/^kysely$/, /^zod$/, /^@orpc\//]

const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> }
const isOutside = (name: string) => !bundled.some((pattern) => pattern.test(name))
const outside = Object.keys(dependencies)
  .filter(isOutside)
  .map((name) => new RegExp(`^${name}(/|$)`))

rmSync('dist', { recursive: true, force: true })
const bundle = await rolldown({ input: entries, platform: 'node', external: [...outside, /^node:/], logLevel: 'warn' })
const { output } = await bundle.write({
  dir: 'dist',
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name]-[hash].js',
  sourcemap: false,
})
await bundle.close()
const modules = output.flatMap((part) => (part.type === 'chunk' ? part.moduleIds : []))
writeFileSync('dist/licenses.txt', licencesOf(packagesOf(modules)))
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.types.json'], { stdio: 'inherit' })

/** Folders of the packages that the bundles hold. */
function packagesOf(moduleIds: readonly string[]): string[] {
  const folders = moduleIds.flatMap((id) => /^\0?(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1] ?? [])
  return [...new Set(folders)].sort()
}

function licencesOf(folders: readonly string[]): string {
  const texts = folders.map((folder) => {
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, string>
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
    if (file === undefined) throw new Error(`${folder} has no licence to go with what is bundled of it.`)
    return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
  })
  return `dist/ holds code of these packages.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`
}
