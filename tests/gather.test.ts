import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  install,
  predict,
  query,
  request,
  serving,
  showLogsOnFailure,
  train,
  until,
  type Installation,
} from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/*
 * An endpoint that asks two models, with real processes: founded by their first versions, joined by a new one through
 * copies while the control plane is killed, gone back by a rollback; and what monitors and labels find in the lake.
 */

/** So many that the control plane can be killed while they are answered. */
const joinRequests = 600
const rules = [{ header: 'x-group', equals: 'old', version: 'previous' }]
const gathered: Installation = install({
  ...quickFiles({
    models: {
      a: { ...quickModel, serving: { ...quickModel.serving, sticky: { header: 'x-user' }, rules } },
      b: quickModel,
    },
    endpoints: {
      both: { gather: { members: ['a', 'b'], combine: 'mean', join: { requests: joinRequests, maxErrorShare: 0.05 } } },
      own: { gather: { members: ['a', 'b'], combine: { module: './combine.ts', timeout: '2s' }, quorum: 2 } },
    },
  }),
  'combine.ts': `
    type Given = { name: string; outputs: Record<string, { shape: number[]; data: number[] }> }
    export default function combine(answers: Given[], request: { inputs: { x: { shape: number[] } } }) {
      const names = answers.map(({ name }) => name).join(' and ')
      return { outputs: { by: { datatype: 'BYTES', shape: [request.inputs.x.shape[0]], data: [names] } } }
    }`,
})
let url: string

beforeAll(async () => {
  await gathered.up()
  await train(gathered, 'a')
  await train(gathered, 'b')
  await serving(gathered, 'b', 'b@1')
  url = (await serving(gathered, 'both')).url!
})
beforeEach(() => showLogsOnFailure(gathered))
afterAll(() => gathered.remove())

const membersNow = async (): Promise<string[]> => {
  const found = (await gathered.api.endpoints.list()).find((e) => e.name === 'both')
  return (found?.gather?.members ?? []).map(({ version, state }) => `${version} ${state}`).toSorted()
}

const membersAre = (...members: string[]) =>
  until(
    members.join(', '),
    async () => (JSON.stringify(await membersNow()) === JSON.stringify(members) ? true : null),
    { withinMs: 90_000, everyMs: 100 },
  )

interface Load {
  answered: number
  failures: string[]
  stop(): Promise<void>
}

/** A few clients that ask again as soon as they are answered. */
function load(clients: number): Load {
  const running: Load = { answered: 0, failures: [], stop: async () => undefined }
  let stopped = false
  const client = async (): Promise<void> => {
    while (!stopped) {
      const { status, body } = await request(url, { inputs: row(1, 0) })
      if (status === 200) running.answered += 1
      else running.failures.push(`${status}: ${JSON.stringify(body)}`)
    }
  }
  const done = Promise.all(Array.from({ length: clients }, client))
  running.stop = async () => {
    stopped = true
    await done
  }
  return running
}

const ofVersion = (endpoint: string, version: string) =>
  predict(url.replace('/both/', `/${endpoint}/versions/${encodeURIComponent(version)}/`), row(1, 0))

describe('an endpoint that asks two models', () => {
  it('is joined by a new version through copies, also when the control plane dies; nothing fails', async () => {
    const busy = load(3)
    await membersAre('a@1 member', 'b@1 member')
    const trained = train(gathered, 'a', { file: 'better.onnx' })
    await until('a@2 joins', async () => ((await membersNow()).includes('a@2 joining') ? true : null), {
      withinMs: 60_000,
      everyMs: 20,
    })
    const { controlPlane } = await gathered.api.status.get()
    process.kill(controlPlane.pid, 'SIGKILL')
    await until('the control plane is back', async () => {
      const status = await gathered.api.status.get().catch(() => null)
      return status !== null && status.controlPlane.pid !== controlPlane.pid ? true : null
    })
    await trained.catch(() => null) // its own connection broke with the control plane
    await membersAre('a@2 member', 'b@1 member')
    await until('an answer of the new members', async () =>
      (await predict(url, row(1, 0))).version === 'a@2,b@1' ? true : null,
    )
    await busy.stop()
    expect(busy.failures).toEqual([])
    expect(busy.answered).toBeGreaterThan(joinRequests)

    const history = await gathered.api.events.list({ entity: 'gather_member' })
    const steps = history.filter((e) => e.entityId === 'both/a@2').map(({ from, to }) => [from, to])
    expect(steps).toEqual([
      [null, 'joining'],
      ['joining', 'member'],
    ])
    const [a, b] = [await ofVersion('both', 'a@2'), await ofVersion('both', 'b@1')]
    expect((await predict(url, row(1, 0))).score).toBeCloseTo((a.score + b.score) / 2, 6)
  })

  it('holds its members against retirement', async () => {
    const { stderr, code } = await gathered.millrace(['retire', 'b@1', '--why', 'test'])
    expect(code).not.toBe(0)
    expect(stderr).toContain('member of gather both')
  })

  it('is logged once under its own name and once for each member, where labels find them', async () => {
    const { id } = await predict(url, row(0.5, 0.25))
    expect((await gathered.millrace(['feedback', id, '1'])).code).toBe(0)
    const found = await until('the label of all three', async () => {
      const rows = await query(
        gathered,
        `select model, version, origin, label from predictions where coalesce(shadow_of, prediction_id) = '${id}' order by model`,
      )
      return rows.length === 3 && rows.every((cells) => Number(cells[3]) === 1) ? rows : null
    })
    expect(found.map((cells) => cells.slice(0, 3))).toEqual([
      ['a', '2', 'live'],
      ['b', '1', 'live'],
      ['both', 'a@2,b@1', 'live'],
    ])
    const [totals] = await query(gathered, `select count(distinct model) from predictions where endpoint = 'both'`)
    expect(Number(totals?.[0])).toBe(3)
  })

  it('answers as the module of the user says; where nobody calls, nobody joins', async () => {
    const { status, body } = await request(url.replace('/both/', '/own/'), { inputs: row(1, 0) })
    expect([status, body]).toMatchObject([200, { outputs: [{ name: 'by', data: ['a@1 and b@1'] }] }])
  })

  it('leaves its members to their own endpoints, with their rules', async () => {
    const ask = (headers: Record<string, string>) =>
      request(url.replace('/both/', '/a/'), { inputs: row(1, 0) }, { headers })
    const versionOf = async (headers: Record<string, string>) =>
      (await ask(headers)).headers.get('millrace-model-version')
    expect(await versionOf({ 'x-user': 'ann' })).toBe('2')
    expect(await versionOf({ 'x-user': 'ann', 'x-group': 'old' })).toBe('1')
  })

  it('is shown with its members, and lets nobody try again who was not refused', async () => {
    const { stdout } = await gathered.millrace(['endpoints', 'both'])
    expect(stdout).toMatch(/both +serving +mean +a@2 +member +1\/1/)
    expect(stdout).toMatch(/b@1 +member +1\/1/)
    const again = await gathered.millrace(['join', 'both', 'a@2', '--why', 'test'])
    expect(again.code).not.toBe(0)
    expect(again.stderr).toContain("a@2 was not refused by 'both'")
  })

  it('is disabled and enabled as any other', async () => {
    expect((await gathered.millrace(['disable', 'both', '--why', 'wrong prices'])).code).toBe(0)
    await until('it says so', async () => ((await request(url, { inputs: row(1, 0) })).status === 503 ? true : null))
    expect((await gathered.millrace(['enable', 'both'])).code).toBe(0)
    await until('it answers', async () => ((await request(url, { inputs: row(1, 0) })).status === 200 ? true : null))
  })

  it('goes back with a rollback, at once', async () => {
    await gathered.api.releases.rollback({ endpoint: 'a', why: 'test', by: 'test' })
    await membersAre('a@1 member', 'b@1 member')
    await until('the answer', async () => ((await predict(url, row(1, 0))).version === 'a@1,b@1' ? true : null))
    expect(await membersNow()).toEqual(['a@1 member', 'b@1 member'])
  })
})
