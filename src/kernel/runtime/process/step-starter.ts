import { fork, type ChildProcess } from 'node:child_process'
import { MillraceError, type ErrorFacts } from '../../errors.ts'
import { StepGivenUpError } from '../errors.ts'
import { claimForController, readStepPid } from './step-files.ts'
import type { ExitStatus } from './spawn-detached.ts'
import { noteGone, type StepHandle, type StepOptions } from './step-process.ts'

/** What the process that starts steps says of one, by its token. */
export type StarterMessage = { token: string } & (
  | { kind: 'begun'; pid: number }
  | { kind: 'failed'; facts: ErrorFacts }
  | { kind: 'ended'; status: ExitStatus; survivor: string | null }
)

/** What it is told to start. */
export type StarterOrder = Omit<StepOptions, 'onSurvivor'>

interface Call {
  options: StepOptions
  begun: PromiseWithResolvers<number>
  ended: PromiseWithResolvers<ExitStatus>
}

/** It is ended when nothing was started for so long, and started again when there is something. */
const IDLE_MS = 60_000

/**
 * Starts steps from a small process of its own. To fork copies the page tables of whoever does it, and every page that is
 * written next: out of a control plane with its database in memory a step costs tens of milliseconds, from here one.
 *
 * It holds nothing that matters. When it is killed, what it has begun goes on and is known by its files, as after the death
 * of a control plane; what it had not begun is given up and tried again. It ends with whoever has started it.
 */
export class StepStarter {
  readonly #entry: string
  /** By token, until the step has ended. */
  readonly #calls = new Map<string, Call>()
  #child: ChildProcess | null = null
  #idle: NodeJS.Timeout | null = null

  /** @param entry - path of `processes/step-starter` */
  constructor(entry: string) {
    this.#entry = entry
  }

  /** @throws as `startStep` does; then the command has not run and will not */
  async start(options: StepOptions): Promise<StepHandle> {
    const call: Call = { options, begun: Promise.withResolvers(), ended: Promise.withResolvers() }
    this.#calls.set(options.token, call)
    const child = this.#running()
    const { onSurvivor: _told, ...order } = options
    child.send(order satisfies StarterOrder, (error) => {
      if (error !== null) this.#lost(child)
    })
    return { pid: await call.begun.promise, exited: call.ended.promise }
  }

  #running(): ChildProcess {
    if (this.#idle !== null) clearTimeout(this.#idle)
    if (this.#child !== null) return this.#child
    const child = fork(this.#entry, [], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    child.on('message', (message) => this.#hear(message as StarterMessage))
    for (const event of ['exit', 'error', 'disconnect']) child.on(event, () => this.#lost(child))
    // Nobody is kept alive by it.
    child.unref()
    child.channel?.unref()
    this.#child = child
    return child
  }

  #hear(message: StarterMessage): void {
    const { token } = message
    const call = this.#calls.get(token)
    if (message.kind === 'begun') return call?.begun.resolve(message.pid)
    this.#forget(token)
    if (message.kind === 'failed') return call?.begun.reject(new MillraceError(message.facts))
    if (message.survivor === null) noteGone(token)
    else call?.options.onSurvivor?.(new Error(message.survivor))
    call?.ended.resolve(message.status)
  }

  #forget(token: string): void {
    this.#calls.delete(token)
    if (this.#calls.size > 0) return
    this.#idle = setTimeout(() => this.#end(), IDLE_MS).unref()
  }

  #end(): void {
    const child = this.#child
    this.#child = null
    if (child?.connected === true) child.disconnect()
  }

  /** What it was about to begin is claimed, so that it never will; of what has begun the files will tell. */
  #lost(child: ChildProcess): void {
    if (this.#child !== child) return
    this.#child = null
    for (const [token, { options, begun, ended }] of this.#calls) {
      this.#calls.delete(token)
      try {
        if (claimForController(options.dir)) begun.reject(new StepGivenUpError(options.dir))
        else begun.resolve(readStepPid(options.dir)?.pid ?? 0)
      } catch (error) {
        begun.reject(error)
      }
      ended.resolve({ code: 0, signal: null })
    }
  }
}
