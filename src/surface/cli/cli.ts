import os from 'node:os'
import { styleText } from 'node:util'

import { messageOf } from '../../kernel/errors.ts'
import type { ControlPlane } from '../client/control-plane.ts'
import type { GatewayAddress } from '../client/gateway-http.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { UsageError } from './errors.ts'
import { findDataDir } from './find-project.ts'
import { table, wrapText, type Column } from './table.ts'

/** Options that every command takes. */
export interface GlobalOptions {
  json?: boolean
  config?: string
  dataDir?: string
  url?: string
  token?: string
  color?: boolean
}

type Style = 'green' | 'red' | 'yellow' | 'dim' | 'bold' | 'cyan'

/** What commands share: where they write, whom they speak to. Loads the client only when a command needs it. */
export class Cli {
  exitCode: ExitCode = EXIT.ok
  /** What it says may get lost, as on a full disk, and must not end what it does. */
  outlivesItsWords = false
  readonly #globals: () => GlobalOptions
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string

  constructor(globals: () => GlobalOptions, env = process.env, cwd = process.cwd()) {
    this.#globals = globals
    this.env = env
    this.cwd = cwd
  }

  get globals(): GlobalOptions {
    return this.#globals()
  }

  get json(): boolean {
    return this.globals.json === true
  }

  /** A person looks at it: progress may be drawn over. */
  get interactive(): boolean {
    return process.stdout.isTTY === true && !this.json && this.env['CI'] === undefined && this.env['TERM'] !== 'dumb'
  }

  /** Columns to fit tables into; null for files and pipes. */
  get width(): number | null {
    return process.stdout.isTTY === true ? Math.max(40, process.stdout.columns ?? 80) : null
  }

  /** How whoever typed this command types the next: started by npx, it may not be in the PATH. */
  get command(): string {
    return this.env['npm_command'] === 'exec' ? 'npx millrace' : 'millrace'
  }

  get by(): string {
    return this.env['MILLRACE_BY'] ?? userName()
  }

  dataDir(): string {
    const { dataDir = this.env['MILLRACE_DATA_DIR'], config } = this.globals
    return findDataDir({ dataDir, config, cwd: this.cwd })
  }

  /** @param givenWaitMs - while nobody listens, try again for so long; unless given: only where a supervisor restarts it */
  async connect(givenWaitMs?: number): Promise<ControlPlane> {
    const { connectControlPlane } = await import('../client/control-plane.ts')
    const url = this.globals.url ?? this.env['MILLRACE_URL']
    if (url === undefined) {
      const dataDir = this.dataDir()
      if (givenWaitMs !== undefined) return connectControlPlane({ dataDir, waitMs: givenWaitMs })
      return connectControlPlane({ dataDir, waitMs: RESTART_MS, isSupervised: () => isSupervised(dataDir) })
    }
    httpUrl('control plane', url)
    const token = this.globals.token ?? this.env['MILLRACE_TOKEN']
    if (token === undefined)
      throw new UsageError(
        `A token is needed for ${url}.`,
        'Set MILLRACE_TOKEN to what the file api-token in its data directory holds.',
      )
    return connectControlPlane({ url, token, waitMs: givenWaitMs })
  }

  /** The gateway as `--gateway` says, or as the control plane does. */
  async gateway(given: string | undefined, endpoint?: string): Promise<GatewayAddress> {
    const url = given ?? this.env['MILLRACE_GATEWAY']
    const key = this.env['MILLRACE_KEY'] === undefined ? {} : { key: this.env['MILLRACE_KEY'] }
    if (url !== undefined) return { url: httpUrl('gateway', url), ...key }
    const { api } = await this.connect()
    const endpoints = await api.endpoints.list()
    const found =
      endpoints.find((e) => e.url !== null && (endpoint === undefined || e.name === endpoint)) ??
      endpoints.find((e) => e.url !== null)
    if (found === undefined || found.url === null)
      throw new UsageError(
        'The gateway has no address yet.',
        "Look at 'millrace status', or name it with --gateway http://127.0.0.1:8700.",
      )
    return { url: new URL(found.url).origin, ...key }
  }

  line(text = ''): void {
    process.stdout.write(`${text}\n`)
  }

  /** Words for people: on a terminal broken between them. @param hang - spaces before all lines but the first */
  text(text: string, hang = 4): void {
    const [indent] = /^ */.exec(text)!
    const { width } = this
    if (width === null) return this.line(text)
    for (const line of wrapText(text, width, indent, ' '.repeat(hang))) this.line(line)
  }

  /** For what is not the result: hints and progress. */
  note(text: string): void {
    if (!this.json) process.stderr.write(`${text}\n`)
  }

  /** What went wrong beside the command's own work, which goes on. */
  warn(error: unknown): void {
    process.stderr.write(`${this.style('yellow', 'warning:')} ${messageOf(error)}\n`)
  }

  /** The one JSON document of a command. */
  document(value: unknown): void {
    this.line(JSON.stringify(value, null, 2))
  }

  /** One line of a JSON stream. */
  record(value: unknown): void {
    this.line(JSON.stringify(value))
  }

  /** @param titles - of columns that are not ours (a query's) are shown as written */
  table<R>(rows: R[], columns: Column<R>[], empty: string, titles: 'capitals' | 'as written' = 'capitals'): void {
    if (rows.length === 0) return this.line(this.style('dim', empty))
    const [head = '', ...lines] = table(rows, columns, this.width)
    this.line(this.style('dim', titles === 'capitals' ? head.toUpperCase() : head))
    for (const text of lines) this.line(text)
  }

  style(style: Style, text: string): string {
    return this.#coloured ? styleText(style, text, { validateStream: false }) : text
  }

  /** Green for what is well, red for what is not, yellow for what a person should look at. */
  status(text: string): string {
    return this.style(styleOf(text.trim()), text)
  }

  get #coloured(): boolean {
    if (this.globals.color === false || this.env['NO_COLOR']) return false
    return process.stdout.isTTY === true && this.env['TERM'] !== 'dumb'
  }
}

/** @throws UsageError where nothing could be asked there */
function httpUrl(whose: 'gateway' | 'control plane', text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text
  throw new UsageError(
    `The ${whose}'s address must be a URL, not '${text}'.`,
    `Write for example http://127.0.0.1:${whose === 'gateway' ? 8700 : 7070}.`,
  )
}

const RESTART_MS = 20_000

/** A supervisor that runs is about to start the control plane, or to start it again. */
async function isSupervised(dataDir: string): Promise<boolean> {
  const { isAlive, readProcessRecord } = await import('../../kernel/runtime/process-record.ts')
  const supervisor = readProcessRecord(dataDir, 'supervisor')
  return supervisor !== null && isAlive(supervisor)
}

const WELL = /^(passed|succeeded|released|live|ready|serving|running|done|approved|watching|yes|kept)$/
const BAD = /^(failed|error|down|timedOut|rejected|rolled-back|no|spent)$/
const LOOK = /^(inconclusive|warning|degraded|blocked|awaiting-approval|held|paused|interrupted|superseded|burning)$/

function styleOf(status: string): Style {
  if (WELL.test(status)) return 'green'
  if (BAD.test(status)) return 'red'
  return LOOK.test(status) ? 'yellow' : 'dim'
}

function userName(): string {
  try {
    return os.userInfo().username
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}` // a user without an entry in passwd, as in containers
  }
}
