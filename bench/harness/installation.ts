import { spawn, type ChildProcess } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventView } from '../../src/surface/api/event-schemas.ts'
import type { VersionSummary } from '../../src/surface/api/version-schemas.ts'
import { readProcessRecord } from '../../src/kernel/runtime/process-record.ts'
import { afterName } from '../../src/kernel/runtime/process/process-table.ts'
import { connectControlPlane, type ControlApi } from '../../src/surface/client/control-plane.ts'
import { builtCli } from './package.ts'

const PATIENCE_MS = 120_000
const LOOK_MS = 20
/** Of the kernel's clock, 100 a second. */
const TICK_MS = 10
const EVENTS_AT_ONCE = 5_000

/** When `millrace up` said what, in ms after it was called. */
export interface Started {
  /** Each process answers. */
  processes: Record<string, number>
  /** Control plane and gateway answer. */
  allReadyMs: number
  /** "Millrace is up": what was live before answers too. */
  upMs: number
}

interface Patience {
  withinMs?: number
  everyMs?: number
}

/** What was waited for: neither null, undefined nor false. */
type Given<T> = NonNullable<Exclude<T, false>>

/** One Millrace, built and run by its command line as users run it, on a project and a data directory of its own. */
export class Installation {
  private static readonly all = new Set<Installation>()
  readonly home: string
  readonly folder: string
  readonly dataDir: string
  readonly api: ControlApi
  private supervisor: ChildProcess | null = null
  private gatewayPort = 0

  /** @param files - of the project, by their path; one of them is millrace.yaml or millrace.config.ts */
  constructor(files: Record<string, string | Uint8Array>) {
    Installation.all.add(this)
    this.home = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
    this.folder = join(this.home, 'project')
    this.dataDir = join(this.home, 'data')
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(this.folder, path)), { recursive: true })
      writeFileSync(join(this.folder, path), content)
    }
    this.api = connectControlPlane({ dataDir: this.dataDir, waitMs: PATIENCE_MS }).api
  }

  /** Where clients send their requests. */
  get port(): number {
    return this.gatewayPort
  }

  /** Of user and system together, since it began, in ms. Linux only. */
  processorTimeMs(processId: string): number {
    const { pid } = readProcessRecord(this.dataDir, processId)!
    const fields = afterName(readFileSync(`/proc/${pid}/stat`, 'latin1'))
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  }

  async up(): Promise<Started> {
    const startMs = performance.now()
    const args = ['up', '--json', '--port', String(this.gatewayPort), '--data-dir', this.dataDir]
    const child = this.run(args)
    this.supervisor = child
    const started: Started = { processes: {}, allReadyMs: 0, upMs: 0 }
    createInterface({ input: child.stdout! }).on('line', (line) => {
      appendFileSync(this.logPath, `${line}\n`)
      this.take(line, started, performance.now() - startMs)
    })
    await this.until("'millrace up' to say that it is up", () => started.upMs > 0)
    return started
  }

  private take(line: string, started: Started, afterMs: number): void {
    const said = JSON.parse(line) as { type: string; kind?: string; id?: string; endpoints?: { port: number | null }[] }
    if (said.type === 'process' && said.kind === 'ready') started.processes[said.id ?? ''] = afterMs
    if (said.type === 'process' && said.kind === 'all-ready') started.allReadyMs = afterMs
    if (said.type !== 'up') return
    started.upMs = afterMs
    this.gatewayPort = said.endpoints?.find(({ port }) => port !== null)?.port ?? this.gatewayPort
  }

  async down(): Promise<void> {
    const { supervisor } = this
    if (supervisor === null || hasEnded(supervisor)) return
    supervisor.kill('SIGTERM')
    await this.waitUntil('Millrace to stop', () => hasEnded(supervisor))
  }

  /** Stops it and removes its files. */
  async remove(): Promise<void> {
    await this.down()
    rmSync(this.home, { recursive: true, force: true })
    Installation.all.delete(this)
  }

  /** For a bench that is stopped: nothing that it has started stays. */
  static async removeAll(): Promise<void> {
    await Promise.all([...Installation.all].map((one) => one.remove()))
  }

  /** Brings in a file of the project as the version that answers. */
  async importChampion(model: string, file: string): Promise<VersionSummary> {
    const from = { path: join(this.folder, file) }
    const { ref } = await this.api.versions.import({ model, from, as: 'champion', why: 'to be measured', by: 'bench' })
    const live = async () => {
      const version = await this.api.versions.get({ ref })
      return version.release === 'live' ? version : null
    }
    return this.until(`${ref} to be live`, live)
  }

  /** Every event of these entities, oldest first. */
  async events(entities: readonly string[], afterSeq = 0): Promise<EventView[]> {
    const found: EventView[] = []
    for (let last = afterSeq; ;) {
      const page = await this.api.events.list({ afterSeq: last, limit: EVENTS_AT_ONCE })
      found.push(...page.filter(({ entity }) => entities.includes(entity)))
      if (page.length < EVENTS_AT_ONCE) return found
      last = page.at(-1)!.seq
    }
  }

  /** @throws when it takes too long or when Millrace has ended, with the last lines that it wrote */
  async until<T>(what: string, ask: () => T | Promise<T>, patience: Patience = {}): Promise<Given<T>> {
    const alive = () => {
      if (this.supervisor === null || !hasEnded(this.supervisor)) return ask()
      throw new Error(`Millrace ended while the bench waited for ${what}.\n${this.lastWords()}`)
    }
    return this.waitUntil(what, alive, patience)
  }

  private async waitUntil<T>(
    what: string,
    ask: () => T | Promise<T>,
    { withinMs = PATIENCE_MS, everyMs = LOOK_MS }: Patience = {},
  ): Promise<Given<T>> {
    const giveUpAtMs = performance.now() + withinMs
    for (;;) {
      const answer = await ask()
      if (answer !== null && answer !== undefined && answer !== false) return answer as Given<T>
      if (performance.now() > giveUpAtMs) {
        throw new Error(`Waited ${withinMs / 1000} s for ${what}, in vain.\n${this.lastWords()}`)
      }
      await sleep(everyMs)
    }
  }

  private run(args: string[]): ChildProcess {
    const child = spawn(process.execPath, [builtCli(), ...args], {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment(),
    })
    child.stderr!.on('data', (text: Buffer) => appendFileSync(this.logPath, text))
    return child
  }

  private get logPath(): string {
    return join(this.home, 'up.log')
  }

  private lastWords(): string {
    return readFileSync(this.logPath, 'utf8').trimEnd().split('\n').slice(-20).join('\n')
  }
}

/** Ours, without what would make Millrace another one than it is by default. */
function environment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_'))
  return Object.fromEntries(entries)
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null
