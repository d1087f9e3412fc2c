import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { rolldown } from 'rolldown'

/**
 * Makes dist/: one bundle for each process, sharing chunks, so that a process starts by reading a few files and not a
 * few hundred; and the types of what a configuration imports. Dependencies stay outside.
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
  'config/evaluate-config': 'src/config/evaluate-config.ts',
}

const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> }
const outside = Object.keys(dependencies).map((name) => new RegExp(`^${name}(/|$)`))

rmSync('dist', { recursive: true, force: true })
const bundle = await rolldown({ input: entries, platform: 'node', external: [...outside, /^node:/], logLevel: 'warn' })
await bundle.write({
  dir: 'dist',
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name]-[hash].js',
  sourcemap: false,
})
await bundle.close()
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.types.json'], { stdio: 'inherit' })
