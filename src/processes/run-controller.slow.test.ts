import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ModelInput } from '../config/input.ts'
import type { Artifacts } from '../kernel/artifacts/artifacts.ts'
import { systemClock } from '../kernel/clock.ts'
import { materialiseSql, type LakeSqlInput } from '../kernel/lake/query.ts'
import { DataDirError } from '../kernel/runtime/errors.ts'
import type { Store } from '../kernel/store/store.ts'
import { stepRuntime } from './local-steps.ts'
import { controlLab, until, type ControlLab } from '../testing/control-lab.ts'
import { testStore } from '../testing/test-store.ts'
import { findVersion } from '../control/registry/version-store.ts'
import { RunController, type StepRuntime } from '../control/pipeline/run-controller.ts'
import { requestCancel } from '../control/pipeline/run-requests.ts'
import { attemptsOf, findRun, stepsOf } from '../control/pipeline/run-store.ts'

/** Real processes, a real database, real artifacts. */
let lab: ControlLab
let runtime: StepRuntime
let controller: RunController

let store: Store
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())

beforeEach(async () => {
  lab = await controlLab(store, systemClock)
  runtime = stepRuntime({
    dataDir: lab.dataDir,
    job: async <T>(_kind: string, input: unknown) =>
      (await materialiseSql(input as LakeSqlInput & { outPath: string })) as T,
  })
  controller = new RunController(lab.context, runtime)
})

afterEach(async () => {
  await controller.settle()
  lab.close()
})

const writesModel = 'echo model > "$MILLRACE_MODEL_DIR/model.onnx"'

describe('a training command', () => {
  it('that writes a model makes a version with its lineage', async () => {
    const run = await trained({
      train: {
        args: false,
        run: `${writesModel}; echo '{"auc": 0.8, "by": {"jfk": 0.7}}' > $MILLRACE_OUTPUT_DIR/metrics.json`,
      },
      params: { rate: 0.1 },
    })
    expect(run).toMatchObject({ status: 'succeeded', why: 'all steps succeeded' })
    const version = await findVersion(lab.context.store.db, 'm@1')
    expect(version).toMatchObject({
      runId: run.id,
      status: 'candidate',
      reportedMetrics: { auc: 0.8, by: { jfk: 0.7 } },
    })
    expect(version!.lineage).toMatchObject({
      params: { rate: 0.1 },
      codeDigest: expect.stringMatching(/^sha256:/) as string,
    })
    expect(Buffer.from(await lab.context.artifacts.readBytes(version!.modelDigest)).toString()).toBe('model\n')
  })

  it.each<[string, string, string]>([
    ['is missing', 'no-such-command-anywhere', 'exit status 127: the command was not found'],
    ['exits with 1', 'exit 1', 'exit status 1'],
    ['is killed by SIGKILL', 'kill -9 $$', 'killed by signal 9 (SIGKILL'],
    ['writes nothing', 'true', 'none wrote model.onnx into MILLRACE_MODEL_DIR'],
    [
      'says why it failed',
      'echo "the data end in March" > "$MILLRACE_OUTPUT_DIR/failure"; exit 3',
      'the data end in March',
    ],
    [
      'says why it failed and exits with 0',
      `${writesModel}; echo "too few rows" > $MILLRACE_OUTPUT_DIR/failure`,
      'too few rows',
    ],
    [
      'leads out of its output by a link',
      `${writesModel}; ln -s /etc/passwd $MILLRACE_OUTPUT_DIR/x`,
      'a link that leads outside',
    ],
  ])('that %s ends the run with the reason', async (_what, command, why) => {
    const run = await trained({ train: { run: command, args: false } })
    expect(run.status).toBe('failed')
    expect(run.why).toContain(why)
    expect(await versions()).toBe(0)
  })

  it('that removes its output folder has none, and may still have made a model', async () => {
    expect(await trained({ train: `${writesModel}; rm -r $MILLRACE_OUTPUT_DIR` })).toMatchObject({
      status: 'succeeded',
    })
  })

  it('that hangs is stopped after its time-out with everything it started', async () => {
    let aheadMs = 0
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs }
    controller = new RunController({ ...lab.context, clock }, runtime)
    const pidFile = join(lab.root, 'pid-child')
    const hangs = `trap "" TERM; sleep 300 & echo $! > "${pidFile}"; wait; sleep 300`
    await lab.apply({ m: { train: { run: hangs, timeout: '1h', args: false } } })
    const id = await lab.train('m')
    const isThere = () => existsSync(pidFile) && readFileSync(pidFile, 'utf8').endsWith('\n')
    await until('it hangs', async () => (await controller.look(), isThere()))
    aheadMs = 3_600_000
    expect((await driven(id)).why).toContain('ran longer than its time-out of 3600 s')
    expect((await attempts(id)).map((a) => a.status)).toEqual(['timedOut'])
    expect(isAlive(Number(readFileSync(pidFile, 'utf8')))).toBe(false)
  })

  it('that leaves a daemon in another session is collected, and the daemon ended', async () => {
    const run = await trained({
      train: {
        run: `setsid sh -c 'echo $$ > "${lab.root}/daemon"; exec sleep 300' & sleep 0.3; ${writesModel}`,
        args: false,
      },
    })
    expect(run.status).toBe('succeeded')
    expect(isAlive(Number(readFileSync(join(lab.root, 'daemon'), 'utf8')))).toBe(false)
  })

  it('that floods its log keeps the beginning and the end of it', async () => {
    // A cut loses what is appended while it is made (see log-limit.ts): the last line comes when the flood is over.
    const flood = `echo first; head -c 30000000 /dev/zero | tr '\\0' 'x' | fold -w 99; sleep 1; echo last; ${writesModel}`
    const run = await trained({ train: { run: flood, args: false, logLimit: '1MB' } })
    expect(run.status).toBe('succeeded')
    const log = join((await attempts(run.id))[0]!.dir, 'log')
    expect(statSync(log).size).toBeLessThanOrEqual(1_000_000)
    const text = readFileSync(log, 'utf8')
    expect(text.startsWith('first\n')).toBe(true)
    const marks = text.replaceAll(/x+\n?/g, '')
    expect(marks).toMatch(/\[millrace: +\d+ bytes left out here\]/)
    expect(marks.endsWith('last\n')).toBe(true)
  })

  it.each([
    ['[1, 2]', 'it is [1,2]'],
    ['{"auc": "high"}', '\'auc\' is "high", not a number'],
    ['{"auc": NaN}', 'not valid JSON'],
    ['', 'Unexpected end'],
  ])('whose metrics are %j keeps its model and gets a warning', async (metrics, why) => {
    lab.write('metrics.json', metrics)
    const run = await trained({ train: { run: `${writesModel}; cp metrics.json $MILLRACE_OUTPUT_DIR/`, args: false } })
    expect(run.status).toBe('succeeded')
    expect((await stepsOf(lab.context.store.db, run.id))[0]!.why).toContain('metrics.json is ignored')
    expect((await stepsOf(lab.context.store.db, run.id))[0]!.why).toContain(why)
    expect((await findVersion(lab.context.store.db, 'm@1'))!.reportedMetrics).toBeNull()
  })

  it('that fails at first is tried again as often as declared, and its later success counts', async () => {
    const command = `echo x >> "${lab.root}/tries"; [ $(wc -l < "${lab.root}/tries") = 3 ] && ${writesModel}`
    const run = await trained({ train: { run: command, args: false, retries: 2, backoff: '0s' } })
    expect(run.status).toBe('succeeded')
    expect((await attempts(run.id)).map((a) => [a.number, a.status])).toEqual([
      [1, 'failed'],
      [2, 'failed'],
      [3, 'succeeded'],
    ])
  })

  it('leaves its log on disk and nothing else of what it made', async () => {
    const run = await trained({ train: `echo hello; ${writesModel}` })
    const { dir } = (await attempts(run.id))[0]!
    expect(readFileSync(join(dir, 'log'), 'utf8')).toBe('hello\n')
    expect(readdirSync(dir).filter((name) => ['work', 'inputs', 'model', 'output'].includes(name))).toEqual([])
  })
})

describe('what a step is given', () => {
  it('comes as arguments, as variables and as JSON, whatever characters it has', async () => {
    const params = { 'learning-rate': 0.1, note: `it's "odd"; $(touch ${lab.root}/hacked)`, deep: true }
    const run = await trained({
      train: `printf '%s|' "$MILLRACE_PARAM_NOTE" "$MILLRACE_PARAM_LEARNING_RATE" "$SM_HPS"; cat $MILLRACE_PARAMS; printf '|'; printf '%s|' "$MILLRACE_AS_OF" "$MILLRACE_SEED" "$MILLRACE_RUN_ID" "$MILLRACE_STEP" "$MILLRACE_ATTEMPT"; ${writesModel}; [ "$SM_MODEL_DIR" = "$MILLRACE_MODEL_DIR" ] && [ "$AIP_MODEL_DIR" = "$MILLRACE_MODEL_DIR" ] && printf '%s|'`,
      params,
      seed: 42,
    })
    const log = readFileSync(join((await attempts(run.id))[0]!.dir, 'log'), 'utf8').split('|')
    expect(log.slice(0, 2)).toEqual([params.note, '0.1'])
    for (const json of log.slice(2, 4)) expect(JSON.parse(json)).toEqual(params)
    expect(log.slice(5, 9)).toEqual(['42', run.id, 'train', '1'])
    const args = log.slice(9, -1)
    const pairs = Array.from({ length: args.length / 2 }, (_, n) => args.slice(2 * n, 2 * n + 2))
    expect(Object.fromEntries(pairs)).toEqual({ '--learning-rate': '0.1', '--note': params.note, '--deep': 'true' })
    expect(existsSync(join(lab.root, 'hacked'))).toBe(false)
  })

  it('is quoted also where a name of a parameter, given with a run, is shell code', async () => {
    const run = await trained({ train: `${writesModel}; echo ok` }, { params: { [`a;touch ${lab.root}/hacked`]: 1 } })
    expect(run.status).toBe('succeeded')
    expect(existsSync(join(lab.root, 'hacked'))).toBe(false)
  })

  it('is files, folders, globs, other steps’ outputs and rows of a query', async () => {
    for (const week of [1, 2]) lab.write(`data/weeks/${week}.csv`, `a\n${week}\n`)
    const run = await trained({
      steps: {
        features: 'printf 41 > $MILLRACE_OUTPUT_DIR/rows.txt',
        train: {
          run: `cat "$MILLRACE_INPUT_ONE" "$SM_CHANNEL_ROWS"; ls "$MILLRACE_INPUT_FOLDER"; ls $MILLRACE_INPUT_ALL | wc -l; head -c 4 "$MILLRACE_INPUT_QUERY"; ${writesModel}`,
          args: false,
          inputs: {
            one: 'data/weeks/1.csv',
            folder: 'data',
            all: 'data/weeks/*.csv',
            rows: 'steps.features/rows.txt',
            query: { sql: "select 1 as x, getvariable('as_of') as t" },
          },
        },
      },
    })
    expect(run).toMatchObject({ status: 'succeeded' })
    const [, attempt] = await attempts(run.id)
    expect(readFileSync(join(attempt!.dir, 'log'), 'utf8')).toBe('a\n1\n41weeks\n2\nPAR1')
    expect(attempt!.inputs).toMatchObject([
      { name: 'one', kind: 'file', files: 1, sizeBytes: 4 },
      { name: 'folder', kind: 'file', files: 2 },
      { name: 'all', kind: 'file', files: 2, sizeBytes: 8 },
      { name: 'rows', kind: 'step' },
      { name: 'query', kind: 'sql' },
    ])
  })

  it.each([
    ['data/none.csv', "Input 'x' of step 'train' is not there: nothing matches data/none.csv."],
    ['data/*.none', 'nothing matches data/*.none'],
    ['steps.features/none.txt', 'nothing matches steps.features/none.txt'],
    ['steps.features/../../../log', 'nothing matches steps.features/../../../log'],
  ])('fails the step where %s is not there, without starting it', async (input, why) => {
    const run = await trained({
      steps: {
        features: 'echo x > $MILLRACE_OUTPUT_DIR/x',
        train: { run: `touch ${lab.root}/started`, inputs: { x: input } },
      },
    })
    expect(run.why).toContain(why)
    expect(existsSync(join(lab.root, 'started'))).toBe(false)
  })

  it('is the code as it was when the run was asked for', async () => {
    lab.write('train.sh', `echo old; sh sub/more.sh; ls; ${writesModel}`)
    lab.write('sub/more.sh', 'echo old too')
    await lab.apply({ m: { train: 'sh train.sh' } })
    const id = await lab.train('m')
    lab.write('train.sh', 'exit 9')
    lab.write('sub/more.sh', 'exit 9')
    lab.write('newer.sh', 'exit 9')
    const run = await driven(id)
    expect(run.status).toBe('succeeded')
    expect(readFileSync(join((await attempts(id))[0]!.dir, 'log'), 'utf8')).toBe('old\nold too\nsub\ntrain.sh\n')
  })

  it('is no part of the data directory, wherever that lies', async () => {
    const source = { root: join(lab.dataDir, '..'), ignore: [], dataDir: lab.dataDir }
    const { snapshotCode } = await import('../control/pipeline/code-snapshot.ts')
    lab.write('train.sh', 'true')
    expect(await snapshotCode(source, lab.context.artifacts)).toMatchObject({ files: 1 })
  })
})

describe('a run of several steps', () => {
  const graph = (b: string): ModelInput => ({
    steps: {
      a: 'echo 1 > $MILLRACE_OUTPUT_DIR/x',
      b: { run: b, needs: ['a'] },
      c: { run: `cat $MILLRACE_INPUT_X; ${writesModel}`, args: false, inputs: { x: 'steps.a/x' }, needs: ['b'] },
      d: 'sleep 0.2',
    },
  })

  it('follows its graph', async () => {
    const run = await trained(graph('true'))
    expect(run.status).toBe('succeeded')
    const order = (await attempts(run.id)).toSorted((x, y) => x.startedAtMs - y.startedAtMs).map((a) => a.step)
    expect(order.filter((step) => step !== 'd')).toEqual(['a', 'b', 'c'])
  })

  it('skips what a failed step leaves without its needs, and lets the others end', async () => {
    const run = await trained(graph('exit 5'))
    expect(run.why).toBe("step 'b' failed: exit status 5")
    const steps = await stepsOf(lab.context.store.db, run.id)
    expect(Object.fromEntries(steps.map((s) => [s.name, s.status]))).toEqual({
      a: 'succeeded',
      b: 'failed',
      c: 'skipped',
      d: 'succeeded',
    })
  })

  it('starts no more at once than there are places, and says what it waits for', async () => {
    controller = new RunController(lab.context, runtime, 1)
    await lab.apply({ m: graph('true') })
    const id = await lab.train('m')
    await until('one step runs', async () => (await controller.look(), (await attempts(id)).length > 0))
    await controller.look()
    expect(controller.heldBack(id)).toBe('all 1 places for running steps are taken')
    expect((await attempts(id)).filter((a) => ['starting', 'running'].includes(a.status))).toHaveLength(1)
    expect((await driven(id)).status).toBe('succeeded')
  })

  it('waits for the run of the same model before it', async () => {
    await lab.apply({ m: { train: `sleep 0.5; ${writesModel}` } })
    const [first, second] = [await lab.train('m'), await lab.train('m')]
    await until('the first runs', async () => (await controller.look(), (await attempts(first)).length > 0))
    await controller.look()
    expect(controller.heldBack(second)).toBe(`${first} of the same model is before it`)
    expect((await driven(second)).status).toBe('succeeded')
    expect(await versions()).toBe(2)
  })
})

describe('cancelling', () => {
  it('ends the whole tree of processes, and the run', async () => {
    await lab.apply({
      m: {
        train: {
          run: `echo $$ > ${lab.root}/pid; setsid sh -c 'echo $$ > ${lab.root}/pid2; exec sleep 300' & sleep 300`,
          args: false,
        },
      },
    })
    const id = await lab.train('m')
    await until(
      'both run',
      async () => (
        await controller.look(),
        existsSync(join(lab.root, 'pid2')) && readFileSync(join(lab.root, 'pid2'), 'utf8') !== ''
      ),
    )
    expect(await requestCancel(lab.context.store.db, id, 'ann: wrong data')).toBe(true)
    expect(await driven(id)).toMatchObject({ status: 'cancelled', why: 'ann: wrong data' })
    expect(['pid', 'pid2'].map((name) => isAlive(Number(readFileSync(join(lab.root, name), 'utf8'))))).toEqual([
      false,
      false,
    ])
    expect(await requestCancel(lab.context.store.db, id, 'again')).toBe(false)
  })

  it('of a step that is still being prepared never lets it start', async () => {
    const preparing = Promise.withResolvers<void>()
    const slow: StepRuntime = {
      ...runtime,
      async environment(config, root, onLog, signal) {
        preparing.resolve()
        await sleep(60_000, undefined, { signal })
        return runtime.environment(config, root, onLog, signal)
      },
    }
    controller = new RunController(lab.context, slow)
    await lab.apply({ m: { train: `touch ${lab.root}/started` } })
    const id = await lab.train('m')
    await controller.look()
    await preparing.promise
    await requestCancel(lab.context.store.db, id, 'ann: enough')
    expect((await driven(id)).status).toBe('cancelled')
    expect(existsSync(join(lab.root, 'started'))).toBe(false)
  })

  it('of one run does not keep another waiting, however long its processes take to end', async () => {
    const mayEnd = Promise.withResolvers<void>()
    let stubborn: string | undefined
    const held: StepRuntime = {
      ...runtime,
      async stop(dir, token) {
        if (token === stubborn) await mayEnd.promise
        return runtime.stop(dir, token)
      },
    }
    controller = new RunController(lab.context, held)
    try {
      await lab.apply({
        m: { train: { run: `trap '' TERM; touch ${lab.root}/on; while :; do sleep 1; done`, args: false } },
        other: { train: writesModel },
      })
      const id = await lab.train('m')
      await until('it runs', async () => (await controller.look(), existsSync(join(lab.root, 'on'))))
      stubborn = (await attempts(id))[0]!.token
      await requestCancel(lab.context.store.db, id, 'ann: enough')
      await controller.look()
      const other = await lab.train('other')
      await until(
        'the other has ended',
        async () => (await controller.look(), (await findRun(lab.context.store.db, other))!.status === 'succeeded'),
      )
      expect((await findRun(lab.context.store.db, id))!.status).toBe('running')
      mayEnd.resolve()
      expect((await driven(id)).status).toBe('cancelled')
    } finally {
      mayEnd.resolve()
    }
  })
})

describe('after a crash, the next controller', () => {
  it('adopts a step that still runs', async () => {
    await lab.apply({ m: { train: { run: `echo x >> ${lab.root}/count; sleep 1; ${writesModel}`, args: false } } })
    const id = await lab.train('m')
    await until('it runs', async () => (await controller.look(), existsSync(join(lab.root, 'count'))))
    controller = new RunController(lab.context, runtime)
    expect((await driven(id)).status).toBe('succeeded')
    expect(readFileSync(join(lab.root, 'count'), 'utf8')).toBe('x\n')
  })

  it.each([3_600_000, -3_600_000])('adopts it also where the clock was set by %i ms since', async (byMs) => {
    const run = `echo x >> ${lab.root}/count; sleep 1; ${writesModel}`
    await lab.apply({ m: { train: { run, args: false, timeout: '10m' } } })
    const id = await lab.train('m')
    await until('it runs', async () => (await controller.look(), existsSync(join(lab.root, 'count'))))
    const clock = { ...systemClock, epochMs: () => systemClock.epochMs() + byMs }
    controller = new RunController({ ...lab.context, clock }, runtime)
    expect((await driven(id)).status).toBe('succeeded')
    expect(readFileSync(join(lab.root, 'count'), 'utf8')).toBe('x\n')
  })

  it('recognises by its exit record a step that ended unseen', async () => {
    await lab.apply({ m: { train: { run: `echo x >> ${lab.root}/count; ${writesModel}`, args: false } } })
    const id = await lab.train('m')
    await until('it runs', async () => (await controller.look(), (await attempts(id))[0]?.status === 'running'))
    const { dir } = (await attempts(id))[0]!
    await until('it has ended', () => existsSync(join(dir, 'exit')))
    controller = new RunController(lab.context, runtime)
    expect((await driven(id)).status).toBe('succeeded')
    expect(readFileSync(join(lab.root, 'count'), 'utf8')).toBe('x\n')
    expect(await attempts(id)).toHaveLength(1)
  })

  it('starts anew what was recorded and never started, without counting it', async () => {
    await lab.apply({ m: { train: { run: `echo x >> ${lab.root}/count; ${writesModel}`, args: false } } })
    const id = await lab.train('m')
    const dying: StepRuntime = { ...runtime, environment: () => new Promise(() => {}) }
    await new RunController(lab.context, dying).look()
    expect(await attempts(id)).toMatchObject([{ status: 'starting' }])
    expect((await driven(id)).status).toBe('succeeded')
    expect((await attempts(id)).map((a) => a.status)).toEqual(['interrupted', 'succeeded'])
    expect(readFileSync(join(lab.root, 'count'), 'utf8')).toBe('x\n')
  })

  it('starts anew what was killed from outside', async () => {
    await lab.apply({
      m: {
        train: {
          run: `echo x >> ${lab.root}/count; [ $(wc -l < ${lab.root}/count) = 2 ] || kill -9 0; ${writesModel}`,
          args: false,
        },
      },
    })
    const id = await lab.train('m')
    expect((await driven(id)).status).toBe('succeeded')
    expect((await attempts(id)).map((a) => a.status)).toEqual(['interrupted', 'succeeded'])
  })

  it('never runs a step again whose success is recorded', async () => {
    const steps = {
      a: { run: `echo a >> ${lab.root}/count`, args: false },
      b: { run: `echo b >> ${lab.root}/count; sleep 0.3; ${writesModel}`, args: false, needs: ['a'] },
    }
    await lab.apply({ m: { steps } })
    const id = await lab.train('m')
    for (let looks = 0; (await findRun(lab.context.store.db, id))!.status !== 'succeeded'; looks++) {
      expect(looks).toBeLessThan(500)
      controller = new RunController(lab.context, runtime)
      await controller.look()
      await controller.settle()
      await sleep(20)
    }
    expect(readFileSync(join(lab.root, 'count'), 'utf8')).toBe('a\nb\n')
    expect(await versions()).toBe(1)
  })

  it('collects again what was collected and not recorded', async () => {
    await lab.apply({ m: { train: writesModel } })
    const id = await lab.train('m')
    const { artifacts } = lab.context
    const failing = {
      ...lab.context,
      artifacts: {
        ...bound(artifacts),
        putFile: () => Promise.reject(new DataDirError('/data', 'the disk is full', 'Free some.')),
      },
    }
    const first = new RunController(failing, runtime)
    await until(
      'it has ended',
      async () => (await first.look(), existsSync(join((await attempts(id))[0]?.dir ?? '/none', 'exit'))),
    )
    expect(await driven(id)).toMatchObject({ status: 'succeeded', why: 'all steps succeeded' })
  })
})

it('a full disk starts nothing, and all goes on by itself when there is room again', async () => {
  await lab.apply({ m: { train: writesModel } })
  lab.disk.low = true
  const id = await lab.train('m')
  await controller.look()
  expect(await attempts(id)).toEqual([])
  expect(controller.heldBack(id)).toBe('free disk space is below the watermark')
  lab.disk.low = false
  expect((await driven(id)).status).toBe('succeeded')
})

async function trained(model: ModelInput, request?: Parameters<ControlLab['train']>[1]) {
  await lab.apply({ m: model })
  return driven(await lab.train('m', request))
}

/** Looks as the loop does, until the run has ended. */
async function driven(id: string) {
  await until(`${id} has ended`, async () => {
    await controller.look()
    return !['queued', 'running'].includes((await findRun(lab.context.store.db, id))!.status)
  })
  await controller.settle()
  return (await findRun(lab.context.store.db, id))!
}

const attempts = (id: string) => attemptsOf(lab.context.store.db, id)

function bound(artifacts: Artifacts): Artifacts {
  return {
    putFile: (path) => artifacts.putFile(path),
    putBytes: (bytes) => artifacts.putBytes(bytes),
    putDir: (dir, options) => artifacts.putDir(dir, options),
    putFiles: (files) => artifacts.putFiles(files),
    isTree: (digest) => artifacts.isTree(digest),
    materialiseDir: (digest, target) => artifacts.materialiseDir(digest, target),
    verifiedPath: (digest) => artifacts.verifiedPath(digest),
    readBytes: (digest) => artifacts.readBytes(digest),
    readTree: (digest) => artifacts.readTree(digest),
    has: (digest) => artifacts.has(digest),
    sizeOf: (digest) => artifacts.sizeOf(digest),
    remove: (digest, options) => artifacts.remove(digest, options),
    renew: (digest) => artifacts.renew(digest),
    list: () => artifacts.list(),
  }
}

async function versions(): Promise<number> {
  return (await lab.context.store.db.selectFrom('version').select('id').execute()).length
}

/** A zombie, which nobody in a container may reap, is dead. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    const stat = `/proc/${pid}/stat`
    return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, 'utf8'))
  } catch {
    return false
  }
}
