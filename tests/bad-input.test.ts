import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newPredictionId } from '../src/kernel/contract/prediction-id.ts'
import { customOperatorModel, linearModel, logisticModel } from '../src/testing/onnx-builder.ts'
import type { RunView } from '../src/surface/api/run-schemas.ts'
import type { VersionView } from '../src/surface/api/version-schemas.ts'
import {
  install,
  predict,
  processesOf,
  query,
  request,
  serving,
  settled,
  showLogsOnFailure,
  type Installation,
} from './harness.ts'
import { COPY, quickFiles, quickModel, row, table } from './quick-project.ts'

/*
 * Bad input through the whole system, all against one running Millrace: each model below is one mistake, and `sound`
 * serves beside them. What is bad by itself (a request, a file, a configuration) is tested beside the code that reads it.
 */

const LOG_LIMIT = '50kB'
const LOG_BYTES = 200_000_000

/** Trainers that go wrong; all start at once. */
const trainers = {
  'missing-command': { run: 'train-the-model --now' },
  exits: { run: 'echo reading rows; echo "no column \'age\'" >&2; exit 1' },
  'says-why': { run: 'echo "only 3 rows are left" > "$MILLRACE_OUTPUT_DIR/failure"; exit 7' },
  killed: { run: 'kill -KILL $$' },
  hangs: { run: 'sleep 600 & sleep 600', timeout: '2s' },
  // What it has left in a session of its own may not live on, nor write into the next attempt.
  'forks-and-leaves': { run: `setsid sleep 601 & ${COPY}` },
  silent: { run: 'true' },
  chatty: {
    run: `echo first; yes "a line of a log that nobody reads" | head -c ${LOG_BYTES}; echo last; ${COPY}`,
    logLimit: LOG_LIMIT,
  },
  'wild-metrics': { run: `echo '{"auc": "very good"}' > "$MILLRACE_OUTPUT_DIR/metrics.json"; ${COPY}` },
}

/** Holdouts that a version can't be judged by. */
const holdouts = {
  'holdout-missing': { holdout: 'gone.parquet' },
  'holdout-empty': { holdout: 'empty.csv' },
  'holdout-one-class': { holdout: { sql: "select * from 'holdout.csv' where y = 0" } },
  'holdout-other-columns': { holdout: 'other.csv' },
}

const manual = { release: { ...quickModel.release, when: 'manual' } }

function project(): Record<string, string | Uint8Array> {
  const broken = Object.entries(trainers).map(([name, step]) => {
    const limits = { args: false, timeout: '60s', ...step }
    return [name, { ...quickModel, ...manual, train: limits }]
  })
  const unjudged = Object.entries(holdouts).map(([name, holdout]) => [name, { ...quickModel, ...manual, ...holdout }])
  const models = { sound: quickModel, ...Object.fromEntries(broken), ...Object.fromEntries(unjudged) }
  return {
    ...quickFiles({ models }),
    'empty.csv': 'a,b,y\n',
    'other.csv': table(50).replace('a,b,y', 'a,c,y'),
    'corrupt.onnx': logisticModel({ weights: [1, 1] }).slice(0, 60),
    'empty.onnx': '',
    'text.onnx': 'this is no model',
    'foreign.onnx': customOperatorModel(),
    'nan.onnx': logisticModel({ weights: [Number.NaN, 1] }),
    'wide.onnx': logisticModel({ weights: [1, 1, 1] }),
    'unbounded.onnx': linearModel({ weights: [100, 100] }),
  }
}

const bad: Installation = install(project())
/** Model or file → the run that was started for it. */
const runs: Record<string, string> = {}
let url: string
let origin: string

beforeAll(async () => {
  await bad.up()
  await bad.api.runs.start({ model: 'sound', by: 'test' })
  const endpoint = await serving(bad, 'sound', 'sound@1')
  url = endpoint.url!
  origin = new URL(url).origin
  for (const model of [...Object.keys(trainers), ...Object.keys(holdouts)]) {
    runs[model] = (await bad.api.runs.start({ model, by: 'test' })).id
  }
  for (const file of [...unservable.map(([name]) => name), 'worse.onnx']) {
    runs[file] = (await bad.api.runs.start({ model: 'sound', params: { file }, by: 'test' })).id
  }
})
beforeEach(() => showLogsOnFailure(bad))
afterAll(() => bad.remove())

async function ended(what: string): Promise<{ run: RunView; version: VersionView | null }> {
  const run = await settled(bad, runs[what]!)
  return {
    run,
    version: run.outcome.version === null ? null : await bad.api.versions.get({ ref: run.outcome.version }),
  }
}

async function logOf(model: string): Promise<string> {
  const { stdout, stderr } = await bad.millrace(['logs', runs[model]!])
  return stdout + stderr
}

/** What a trainer wrote, or an import brings, that can't be served or can't be measured. */
const unservable = [
  ['corrupt.onnx', /corrupt|cut off|does not hold together/i],
  ['empty.onnx', /empty|0 bytes/],
  ['text.onnx', /ONNX/],
  ['foreign.onnx', /com\.example/],
  ['nan.onnx', /Output 'probabilities' .*is NaN at row 0 of the holdout/],
  ['wide.onnx', /3 columns|3 .*features|features.*2/],
  ['unbounded.onnx', /no probability/],
] as const

describe('a trainer', () => {
  it('whose command is missing fails its run by name, and its log says so', async () => {
    expect((await ended('missing-command')).run).toMatchObject({
      status: 'failed',
      why: expect.stringMatching(/step 'train' failed: .*(127|not found)/),
      outcome: { version: null },
    })
    expect(await logOf('missing-command')).toMatch(/train-the-model: (command )?not found/)
  })

  it('that exits with 1 fails its run with its status and its last words', async () => {
    expect((await ended('exits')).run).toMatchObject({
      status: 'failed',
      why: expect.stringMatching(/step 'train'.*exit status 1/),
    })
    expect(await logOf('exits')).toContain("no column 'age'")
    const shown = await bad.millrace(['runs', 'show', runs['exits']!])
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining('exit status 1') })
  })

  it('may give its reason itself', async () => {
    expect((await ended('says-why')).run).toMatchObject({
      status: 'failed',
      why: expect.stringContaining('only 3 rows are left'),
    })
  })

  it('that is killed fails its run with the signal', async () => {
    const { run } = await ended('killed')
    expect(run).toMatchObject({ status: 'failed', why: expect.stringMatching(/SIGKILL|signal 9/) })
    expect(run.steps[0]!.attempts).toMatchObject([{ status: 'failed', exitCode: 137 }])
  })

  it('that hangs is stopped with all that it started', async () => {
    const { run } = await ended('hangs')
    expect(run).toMatchObject({ status: 'failed', why: expect.stringMatching(/step 'train'.*2(000 ms| s|\.0 s)/) })
    expect(run.steps[0]!.attempts).toMatchObject([{ status: 'timedOut' }])
    expect((await processesOf(bad)).filter((line) => line.includes('sleep 600'))).toEqual([])
  })

  it('that forks and leaves keeps its model, and what it left is stopped', async () => {
    expect((await ended('forks-and-leaves')).run).toMatchObject({ status: 'succeeded', outcome: { status: 'passed' } })
    expect((await processesOf(bad)).filter((line) => line.includes('sleep 601'))).toEqual([])
  })

  it('that writes no model fails its run, saying where the model should be', async () => {
    expect((await ended('silent')).run).toMatchObject({
      status: 'failed',
      why: expect.stringContaining('model.onnx'),
      outcome: { version: null },
    })
  })

  it('that writes a log of 200 MB keeps its head and its tail, and its model', async () => {
    expect((await ended('chatty')).run).toMatchObject({ status: 'succeeded', outcome: { status: 'passed' } })
    const log = await logOf('chatty')
    expect(log.slice(0, 6)).toBe('first\n')
    expect(log.trimEnd().slice(-4)).toBe('last')
    expect(log).toMatch(/cut|left out/)
    const attempt = join(bad.dataDir, 'runs', runs['chatty']!, 'train', '1')
    const kept = readdirSync(attempt).map((name) => statSync(join(attempt, name)).size)
    expect(Math.max(...kept)).toBeLessThan(100_000)
  })

  it('whose own metrics are no numbers keeps its model: Millrace judges by its own', async () => {
    expect((await ended('wild-metrics')).run).toMatchObject({ status: 'succeeded', outcome: { status: 'passed' } })
    const shown = await bad.millrace(['runs', 'show', runs['wild-metrics']!])
    expect(shown.stdout).toMatch(/metrics\.json is ignored: 'auc' is "very good", not a number/)
  })

  it.each(['exits', 'hangs', 'killed'])('that fails (%s) makes `millrace train` fail too', async (model) => {
    const { code, stdout } = await bad.millrace(['train', model])
    expect({ code, stdout }).toMatchObject({ code: 1, stdout: expect.stringContaining(`step 'train'`) })
  })
})

describe('a model file', () => {
  it.each(unservable)(
    '%s that a trainer wrote becomes an error with its reason, and the champion serves on',
    async (file, why) => {
      const { run, version } = await ended(file)
      expect(run).toMatchObject({ status: 'succeeded', outcome: { status: 'error', release: null } })
      expect(version).toMatchObject({ status: 'error', why: expect.stringMatching(why), release: 'none', aliases: [] })
      expect(await predict(url, row(1, 0))).toMatchObject({ version: '1' })
      const [shown, released] = await Promise.all([
        bad.millrace(['gate', 'show', version!.ref]),
        bad.millrace(['release', version!.ref]),
      ])
      expect(shown.stdout).toMatch(why)
      expect(released).toMatchObject({ code: 5, stderr: expect.stringMatching(why) })
    },
  )

  it('that is worse fails the gate with the figures, and is not served', async () => {
    const { version } = await ended('worse.onnx')
    expect(version).toMatchObject({
      status: 'failed',
      why: expect.stringMatching(/Not better than a constant.*Proven worse/),
      release: 'none',
    })
    expect(await predict(url, row(1, 0))).toMatchObject({ version: '1' })
  })

  it.each(unservable.slice(0, 4))('%s is refused by import, as a candidate and as a champion', async (file, why) => {
    const before = (await bad.api.versions.list({ model: 'sound' })).length
    const ways = [[], ['--as', 'champion']]
    for (const refused of await Promise.all(
      ways.map((as) => bad.millrace(['import', file, '--model', 'sound', ...as])),
    )) {
      expect(refused).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(why) })
      expect(refused.stderr).toMatch(/\nfix: .+\.\n$/)
    }
    expect(await bad.api.versions.list({ model: 'sound' })).toHaveLength(before)
    expect(await predict(url, row(1, 0))).toMatchObject({ version: '1' })
  })

  it('that is not there is refused by import', async () => {
    const refused = await bad.millrace(['import', 'gone.onnx', '--model', 'sound'])
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/gone\.onnx.*(not there|no such file)[\s\S]*\nfix: /i),
    })
  })
})

describe('a holdout', () => {
  it.each([
    ['holdout-missing', `The holdout 'gone.parquet' is not there`],
    ['holdout-empty', `The holdout 'empty.csv' holds no rows`],
    ['holdout-one-class', `No row of the holdout has 1, true or yes as its label 'y'; it holds "0"`],
    ['holdout-other-columns', `needs column 'b', which the holdout lacks; it has a, c, y`],
  ])('that can not be judged by makes the gate an error that names it: %s', async (model, why) => {
    const { run } = await ended(model)
    expect(run).toMatchObject({
      status: 'succeeded',
      outcome: { status: 'error', why: expect.stringContaining(why), release: null },
    })
    const shown = await bad.millrace(['gate', 'show', run.outcome.version!])
    expect(shown).toMatchObject({ stdout: expect.stringContaining(why) })
    expect((await bad.api.versions.get({ ref: run.outcome.version! })).gate).toMatchObject({
      verdict: 'error',
      champion: null,
    })
  })
})

describe('a request', () => {
  const inputs = row(1, 0)
  const tensor = inputs[0]!

  it.each([
    ['an unknown endpoint', '/v2/models/nope/infer', { inputs }, 404, /nope.*sound/],
    ['an unknown version', '/v2/models/sound/versions/99/infer', { inputs }, 404, /99/],
    ['a version that failed', '/v2/models/sound/versions/2/infer', { inputs }, 404, /2/],
    ['a model that serves nothing', '/v2/models/silent/infer', { inputs }, 503, /silent/],
    ['an unknown path', '/v3/models/sound/infer', { inputs }, 404, /\/v3\/models\/sound\/infer/],
    ['no JSON', '/v2/models/sound/infer', '{"inputs": [', 400, /JSON/],
    ['no inputs', '/v2/models/sound/infer', {}, 400, /inputs/],
    ['an unknown input', '/v2/models/sound/infer', { inputs: [{ ...tensor, name: 'z' }] }, 400, /'?z'?.*'?x'?/],
    ['a missing row', '/v2/models/sound/infer', { inputs: [] }, 400, /x/],
    [
      'another type',
      '/v2/models/sound/infer',
      { inputs: [{ ...tensor, datatype: 'BYTES', data: ['1', '2'] }] },
      400,
      /BYTES.*FP32|FP32.*BYTES/,
    ],
    ['text as a number', '/v2/models/sound/infer', { inputs: [{ ...tensor, data: [1, 'two'] }] }, 400, /two/],
    [
      'another width',
      '/v2/models/sound/infer',
      { inputs: [{ ...tensor, shape: [1, 3], data: [1, 2, 3] }] },
      400,
      /\[1, ?3\]/,
    ],
    [
      'fewer values than its shape says',
      '/v2/models/sound/infer',
      { inputs: [{ ...tensor, data: [1] }] },
      400,
      /\b1\b.*\b2\b|\b2\b.*\b1\b/,
    ],
    ['a name that climbs', '/v2/models/%2e%2e%2f%2e%2e/infer', { inputs }, 404, /\.\.\/\.\./],
    ['a version that climbs', '/v2/models/sound/versions/%2e%2e/infer', { inputs }, 404, /\.\./],
    ['a name that is no text', '/v2/models/%ff/infer', { inputs }, 400, /percent-encoded/],
  ] as const)('with %s is told so: %s', async (_what, path, body, status, why) => {
    const answer = await raw(path, typeof body === 'string' ? body : JSON.stringify(body))
    expect(answer).toMatchObject({ status })
    expect((JSON.parse(answer.body) as { error: string }).error).toMatch(why)
  })

  it('with a body over the limit gets 413 and the limit', async () => {
    const answer = await raw('/v2/models/sound/infer', `{"inputs": [${' '.repeat(17_000_000)}]}`)
    expect(answer).toMatchObject({ status: 413, body: expect.stringContaining('16000000 bytes') })
  })

  it('that arrives byte by byte is answered, and one that never ends holds nobody up', async () => {
    const body = JSON.stringify({ inputs })
    const head = `POST /v2/models/sound/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n`
    const stuck = open()
    stuck.socket.write(`${head}\r\n{"inp`)
    const slow = open()
    slow.socket.write(`${head}Connection: close\r\n\r\n`)
    for (const part of body) {
      slow.socket.write(part)
      await new Promise((done) => setTimeout(done, 5))
    }
    expect(await slow.ended).toMatch(/^HTTP\/1\.1 200 /)
    expect(await predict(url, inputs)).toMatchObject({ version: '1' })
    stuck.socket.destroy()
  })

  it('by the command line is refused with the columns', async () => {
    const refused = await bad.millrace(['predict', 'sound', '--row', '{"a": 1, "c": 2}'])
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/Row 0 lacks b and has unknown c\.\nfix: .*a, b/),
    })
    const unknown = await bad.millrace(['predict', 'nope', '--row', '{"a": 1, "b": 2}'])
    expect(unknown).toMatchObject({ code: 4, stderr: expect.stringContaining('nope') })
  })

  /** The path as it is: fetch would tidy it. */
  async function raw(path: string, body: string): Promise<{ status: number; body: string }> {
    const { socket, ended: whole } = open()
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
    const text = await whole
    return { status: Number(text.split(' ')[1]), body: text.slice(text.indexOf('\r\n\r\n') + 4) }
  }

  function open() {
    const { hostname, port } = new URL(origin)
    const socket = connect(Number(port), hostname)
    let text = ''
    socket.on('data', (piece: Buffer) => (text += piece.toString()))
    // A refusal may come with a reset, since the rest of the body is read by nobody.
    const whole = new Promise<string>((done) => socket.once('close', () => done(text)).on('error', () => undefined))
    return { socket, ended: whole }
  }
})

describe('a label', () => {
  it('that is malformed is refused with the field and the value, and none of its batch is kept', async () => {
    const { id } = await predict(url, row(0, 1))
    const refusals: [unknown, RegExp][] = [
      ['{"labels": [', /not JSON/],
      [{ labels: [] }, /labels/],
      [
        {
          labels: [
            { id, label: 1 },
            { id: 'me', label: 1 },
          ],
        },
        /labels\[1\]: 'id' .* not "me"/,
      ],
      [{ id, label: null }, /'label' .* not null/],
      [{ id, label: 1, row: -1 }, /'row' .* not -1/],
      [{ id, label: 1, at: 'yesterday' }, /'at' .* not "yesterday"/],
    ]
    for (const [body, why] of refusals) {
      expect(await request(`${origin}/feedback`, body)).toMatchObject({
        status: 400,
        body: { error: expect.stringMatching(why) },
      })
    }
    const byHand = await bad.millrace(['feedback', 'me', '1'])
    expect(byHand).toMatchObject({ code: 2, stderr: expect.stringMatching(/'id' must be a prediction id .* not "me"/) })
    await expect
      .poll(() => query(bad, `select label from predictions where prediction_id = '${id}'`), {
        timeout: 60_000,
        interval: 500,
      })
      .toEqual([[null]])
  })

  it('without a prediction is kept and counted apart', async () => {
    const nobodys = newPredictionId(Date.now())
    expect(await request(`${origin}/feedback`, { id: nobodys, label: 1 })).toMatchObject({ status: 202 })
    await expect
      .poll(() => bad.api.predictionLog.status(), { timeout: 60_000, interval: 500 })
      .toMatchObject({ labels: 1, labelsMatched: 0, labelsUnmatched: 1, agrees: true })
  })
})

describe('a name', () => {
  it.each([['sha256:../../../../etc/passwd'], ['sha256:' + 'g'.repeat(64)], ['sha256:' + '..%2f'.repeat(12) + 'abcd']])(
    'of an artifact that escapes the store is refused: %s',
    async (digest) => {
      const refused = await bad.millrace(['import', digest, '--model', 'sound'])
      expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/from.*digest|digest/) })
    },
  )

  it('of an artifact that is not there is told so', async () => {
    const refused = await bad.millrace(['import', `sha256:${'0'.repeat(64)}`, '--model', 'sound'])
    expect(refused).toMatchObject({ code: 4, stderr: expect.stringContaining('sha256:0000') })
  })

  it.each([
    [['train', '../sound'], 4, '../sound'],
    [['runs', 'show', '../../etc'], 2, 'run-12'],
    [['models', 'show', "x'; drop table run --"], 4, 'drop table'],
    [['gate', 'show', 'sound@../1'], 2, 'model@number'],
    [['rollback', '%2e%2e'], 4, '%2e%2e'],
  ] as const)('that is none ends a command with what is known instead: %j', async (args, code, text) => {
    const refused = await bad.millrace([...args])
    expect(refused).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(text) })
    expect(refused.stderr).toMatch(/^error: [\s\S]+\nfix: .+\n$/)
  })

  it('of a step in a request for its log reaches no other file', async () => {
    const refused = await bad.millrace(['logs', runs['exits']!, '--step', '../../../../holdout.csv'])
    expect(refused).toMatchObject({ code: 4, stdout: '' })
    expect(refused.stderr).toMatch(
      /no attempt of step '\.\.\/\.\.\/\.\.\/\.\.\/holdout\.csv'; steps with attempts: train\.\nfix: /,
    )
  })

  it.each([
    ['../up', 'models'],
    ['Sound', 'models'],
    ['a b', 'models'],
    ['../up', 'steps'],
    ['x'.repeat(41), 'steps'],
  ])('in the configuration is refused with the rule: %j in %s', async (name, where) => {
    const models = where === 'models' ? { [name]: { train: 'true' } } : { m: { steps: { [name]: 'true' } } }
    const path = join(bad.folder, 'odd-name.yaml')
    writeFileSync(path, JSON.stringify({ name: 'odd', models }, null, 2))
    const refused = await bad.millrace(['apply', '--config', path])
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('lower-case letters, digits and hyphens'),
    })
    expect(refused.stderr).toMatch(/odd-name\.yaml:\d+/)
  })
})

it('after all this, the champion is the first version, every answer is accounted for, and nothing has died', async () => {
  expect(await bad.api.models.get({ model: 'sound' })).toMatchObject({ champion: 'sound@1' })
  await expect
    .poll(() => bad.api.predictionLog.status(), { timeout: 60_000, interval: 500 })
    .toMatchObject({ agrees: true, dropped: 0, inSpool: 0 })
  const { processes } = await bad.api.status.get()
  expect(processes.filter((process) => process.restarts > 0)).toEqual([])
  // The access log has a line of that level for each 503, of which this suite asked for some.
  const errors = readdirSync(join(bad.dataDir, 'logs'))
    .filter((name) => !name.endsWith('.access.log'))
    .flatMap((name) => readFileSync(join(bad.dataDir, 'logs', name), 'utf8').split('\n'))
    .filter((line) => line.includes('"level":50') || line.includes('"level":60'))
  expect(errors).toEqual([])
})
