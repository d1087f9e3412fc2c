/**
 * Entry of the process that runs millrace.config.ts: `node evaluate-config <config> <entry of millrace> <pid of the asker>`. It is a process
 * of its own since the file is a program: it may hang, throw, exit, print or take all memory.
 */
import { registerHooks, type ResolveFnOutput } from 'node:module'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { messageOf } from '../kernel/errors.ts'
import { VALUE_MAX_BYTES } from './evaluation.ts'
import type { Evaluation } from './evaluation.ts'
import { notPlainIn } from './plain-value.ts'

const READER_GRACE_MS = 5_000
const [configPath = '', entryOfMillrace = '', askerPid = ''] = process.argv.slice(2)

// Taken before the file runs, which may replace them.
const send = process.send?.bind(process)
const exit = process.exit.bind(process)

stopWithParent()
resolveImports()
process.on('uncaughtException', (error) => answer(threw(error)))
process.on('unhandledRejection', (error) => answer(threw(error)))
answer(await evaluate())

async function evaluate(): Promise<Evaluation> {
  try {
    const module = (await import(pathToFileURL(configPath).href)) as Record<string, unknown>
    if (!('default' in module)) return { kind: 'noDefault', exported: Object.keys(module) }
    const found = notPlainIn(module['default'])
    if (found.length > 0) return { kind: 'notPlain', found }
    const json = JSON.stringify(module['default'])
    if (json.length > VALUE_MAX_BYTES)
      throw new RangeError(`the configuration has ${json.length} bytes, at most ${VALUE_MAX_BYTES} are taken`)
    return { kind: 'value', value: JSON.parse(json) }
  } catch (error) {
    return threw(error)
  }
}

function threw(error: unknown): Evaluation {
  const { name, code, stack } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { name: 'Error', code: undefined, stack: undefined }
  return { kind: 'threw', name, code: code ?? null, message: messageOf(error), stack: String(stack ?? '') }
}

/** The reader stops this process as soon as it has the answer; ending at once could be noticed before the answer is. */
function answer(evaluation: Evaluation): void {
  if (send === undefined) throw new Error('evaluate-config is started by Millrace, with a channel to answer on.')
  send(evaluation, () => setTimeout(() => exit(0), READER_GRACE_MS))
}

/**
 * `import 'millrace'` gives the package that runs now: under npx the project has no node_modules, and another installed
 * version could define other fields. Imports without an ending work as they do in TypeScript projects.
 */
function resolveImports(): void {
  const endings = ['.ts', '.mts', '.js', '.mjs', '/index.ts', '/index.js']
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === 'millrace') return { url: pathToFileURL(entryOfMillrace).href, shortCircuit: true }
      if (!/^\.{1,2}\//.test(specifier)) return asModule(next(specifier, context))
      try {
        return asModule(next(specifier, context))
      } catch (error) {
        for (const ending of endings) {
          try {
            return asModule(next(specifier + ending, context))
          } catch {
            continue // the first error is the one to report
          }
        }
        throw error
      }
    },
  })
}

/**
 * A configuration in TypeScript is an ES module, also where the folder's package.json says `"type": "commonjs"`, as `npm init` writes
 * it; and what it imports in TypeScript is too.
 */
function asModule(resolved: ResolveFnOutput): ResolveFnOutput {
  const ours = resolved.url.endsWith('.ts') && !resolved.url.includes('/node_modules/')
  return ours ? { ...resolved, format: 'module-typescript' } : resolved
}

/** Code in an endless loop can't notice that nobody waits any more; a thread beside it can. */
function stopWithParent(): void {
  const watch = `
    setInterval(() => { if (process.ppid !== ${Number(askerPid)}) process.kill(process.pid, 'SIGKILL') }, 500)
  `
  new Worker(watch, { eval: true, stdout: true, stderr: true }).unref()
}
