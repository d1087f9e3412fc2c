import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { install, request, showLogsOnFailure, train, until, type Answer, type Installation } from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/*
 * A model that has no replica while nobody calls, and the replicas that are started for its requests are killed, before
 * and after they are ready: whoever waits is answered in the end.
 */

const replicas = { min: 0, max: 1, idle: '1s', wake: '60s' }
const place: Installation = install(
  quickFiles({ models: { m: { ...quickModel, serving: { ...quickModel.serving, replicas, timeout: '60s' } } } }),
)
const CLIENTS = 20
let url: string

beforeAll(async () => {
  await place.up()
  await train(place, 'm')
  url = (await until('m@1 to be released', released)).url!
})
beforeEach(() => showLogsOnFailure(place))
afterAll(() => place.remove())

const endpoint = async () => (await place.api.endpoints.list())[0]!
const released = async () => {
  const found = await endpoint()
  return found.members.length > 0 ? found : null
}
const asleep = () => until('it to sleep', async () => (await endpoint()).state === 'asleep')

/** Those of its replicas, in any state. */
async function replicaPids(): Promise<number[]> {
  const { processes } = await place.api.status.get()
  return processes.flatMap(({ kind, pid }) => (kind === 'replica' && pid !== null ? [pid] : []))
}

/** One that was about to go may be gone. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

const burst = (): Promise<Answer[]> =>
  Promise.all(Array.from({ length: CLIENTS }, () => request(url, { inputs: row(1, 0) })))

const statuses = (answers: Answer[]) => answers.map(({ status, body }) => (status === 200 ? 200 : { status, body }))
const allAnswered = Array.from({ length: CLIENTS }, () => 200)

describe('a model that is asleep', () => {
  it('answers all who have woken it, though the first replica that starts for them is killed', async () => {
    await asleep()
    const before = await replicaPids()
    const answers = burst()
    const [pid] = await until('a replica to start', async () => {
      const pids = (await replicaPids()).filter((known) => !before.includes(known))
      return pids.length > 0 ? pids : null
    })
    kill(pid!)
    expect(statuses(await answers)).toEqual(allAnswered)
  })

  it('answers those as well who come while its only replica dies', async () => {
    expect(statuses(await burst())).toEqual(allAnswered)
    const answers = [burst()]
    for (const pid of await replicaPids()) {
      kill(pid)
      answers.push(burst())
    }
    for (const one of answers) expect(statuses(await one)).toEqual(allAnswered)
  })
})
