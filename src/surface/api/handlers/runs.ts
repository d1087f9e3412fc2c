import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkParams } from '../../../control/pipeline/check-params.ts'
import { snapshotCode } from '../../../control/pipeline/code-snapshot.ts'
import { attemptMachine, runMachine, type Attempt } from '../../../control/pipeline/run.ts'
import { requestCancel, requestRun } from '../../../control/pipeline/run-requests.ts'
import { attemptsOf, findRun, listRuns } from '../../../control/pipeline/run-store.ts'
import { MillraceError } from '../../../kernel/errors.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { LogChunk } from '../run-schemas.ts'
import { DiskLowError } from './disk-low.ts'
import { declaredModel } from './models.ts'
import { runSummary, runView } from './run-view.ts'
import { openAttemptLog } from './attempt-log.ts'
import type { Services } from './services.ts'

class RunNotFoundError extends MillraceError {
  constructor(id: string) {
    super({
      code: 'MR_RUN_NOT_FOUND',
      kind: 'not-found',
      message: `There is no run ${id}.`,
      fix: `Run 'millrace runs' to see them.`,
    })
  }
}

class AttemptNotFoundError extends MillraceError {
  constructor(id: string, { step, attempt }: { step?: string; attempt?: number }, made: Attempt[]) {
    const what = [
      attempt === undefined ? 'attempt' : `attempt ${attempt}`,
      ...(step === undefined ? [] : [`step '${step}'`]),
    ]
    const known = [...new Set(made.map((a) => a.step))].join(', ')
    super({
      code: 'MR_ATTEMPT_NOT_FOUND',
      kind: 'not-found',
      message: `${id} has no ${what.join(' of ')}; steps with attempts: ${known === '' ? 'none' : known}.`,
      fix: `Run 'millrace runs show ${id}' to see its steps and attempts.`,
    })
  }
}

class AsOfAheadError extends MillraceError {
  constructor(asOfMs: number, calendarMs: number) {
    super({
      code: 'MR_AS_OF_AHEAD',
      kind: 'invalid',
      message: `A run can't be as of ${new Date(asOfMs).toISOString()}: by the calendar it is ${new Date(calendarMs).toISOString()}.`,
      fix: 'Choose a time that is over, or leave it out for now.',
    })
  }
}

class RunEndedError extends MillraceError {
  constructor(id: string, status: string) {
    super({
      code: 'MR_RUN_ENDED',
      kind: 'conflict',
      message: `${id} can't be cancelled: it has ended, as ${status}.`,
      fix: `Run 'millrace runs show ${id}' to see how it ended.`,
    })
  }
}

const FOLLOW_EVERY_MS = 150
/** The caller's clock may be ahead of ours. */
const CLOCK_SKEW_MS = 60_000
const CHUNK_BYTES = 64 * 1024

export const runHandlers = (services: Services): HandlerGroup<'runs'> => ({
  async list({ model, limit }) {
    if (model !== undefined) declaredModel(services, model, true)
    return Promise.all(
      (await listRuns(services.context.store.db, { model, limit })).map((r) => runSummary(services, r)),
    )
  },
  async get({ id }) {
    return runView(services, await findRunOrThrow(services, id))
  },
  async start({ model, params, seed, asOfMs, why, by }) {
    const { context } = services
    const config = declaredModel(services, model)
    checkParams(config, params)
    const calendarMs = context.clock.calendarMs()
    if (asOfMs !== undefined && asOfMs > calendarMs + CLOCK_SKEW_MS) throw new AsOfAheadError(asOfMs, calendarMs)
    if (context.diskLow()) throw new DiskLowError('no run is started')
    const { revisionId, project } = context.project()!
    const { root, snapshotIgnore: ignore } = project
    const code = await snapshotCode({ root, ignore, dataDir: context.dataDir }, context.artifacts)
    const triggerWhy = why === undefined || why === '' ? `by hand (${by})` : `${why} (${by})`
    const id = await context.store.transaction((tx) =>
      requestRun(tx, context.clock, {
        model: config,
        revisionId,
        triggerKind: 'manual',
        triggerWhy,
        asOfMs: asOfMs ?? calendarMs,
        params,
        seed,
        codeDigest: code.digest,
      }),
    )
    context.wake('run')
    return runSummary(services, await findRunOrThrow(services, id))
  },
  async cancel({ id, why, by }) {
    const run = await findRunOrThrow(services, id)
    const asked = await requestCancel(services.context.store.db, id, `${by}: ${why ?? 'no reason given'}`)
    if (!asked && runMachine.isFinal(run.status)) throw new RunEndedError(id, run.status)
    services.context.wake('run')
    return runSummary(services, await findRunOrThrow(services, id))
  },
  async *logs({ id, step, attempt, follow }, { signal }) {
    await findRunOrThrow(services, id)
    yield* followLogs(services, { id, step, attempt }, follow, signal)
  },
})

async function findRunOrThrow(services: Services, id: string) {
  const run = await findRun(services.context.store.db, id)
  if (run === null) throw new RunNotFoundError(id)
  return run
}

/** What each attempt wrote, from the start; with `follow` also what is still being written, until the run ends. */
async function* followLogs(
  { context }: Services,
  wanted: { id: string; step?: string; attempt?: number },
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<LogChunk> {
  const read = new Map<string, number>()
  for (;;) {
    const run = await findRun(context.store.db, wanted.id)
    const attempts = (await attemptsOf(context.store.db, wanted.id))
      .filter(
        (a) =>
          (wanted.step === undefined || a.step === wanted.step) &&
          (wanted.attempt === undefined || a.number === wanted.attempt),
      )
      .toSorted((a, b) => a.startedAtMs - b.startedAtMs)
    for (const attempt of attempts) yield* newOutput(attempt, read)
    const ended =
      run === null || (runMachine.isFinal(run.status) && attempts.every((a) => attemptMachine.isFinal(a.status)))
    const names = wanted.step !== undefined || wanted.attempt !== undefined
    if (names && attempts.length === 0 && (ended || !follow)) {
      throw new AttemptNotFoundError(wanted.id, wanted, await attemptsOf(context.store.db, wanted.id))
    }
    if (!follow || ended || signal.aborted) return
    await sleep(FOLLOW_EVERY_MS)
  }
}

async function* newOutput(attempt: Attempt, read: Map<string, number>): AsyncGenerator<LogChunk> {
  const file = await openAttemptLog(join(attempt.dir, 'log'))
  if (file === null) return
  try {
    const buffer = Buffer.alloc(CHUNK_BYTES)
    // A log that was cut in the middle is shorter than what was read of it: what follows is new.
    let offset = Math.min(read.get(attempt.token) ?? 0, (await file.stat()).size)
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, offset)
      if (bytesRead === 0) break
      const whole = wholeCharacters(buffer.subarray(0, bytesRead))
      if (whole.length === 0) break
      yield { step: attempt.step, attempt: attempt.number, stream: 'stdout', offset, text: whole.toString('utf8') }
      offset += whole.length
    }
    read.set(attempt.token, offset)
  } finally {
    await file.close()
  }
}

/** Without the first bytes of a UTF-8 character whose others are not there yet. */
function wholeCharacters(bytes: Buffer): Buffer {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!
    if (byte < 0x80) return bytes
    if (byte >= 0xc0) {
      const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
      return needs > back && bytes.length > back ? bytes.subarray(0, bytes.length - back) : bytes
    }
  }
  return bytes
}
