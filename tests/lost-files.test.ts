import { chmodSync, existsSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { logisticModel } from '../src/testing/onnx-builder.ts'
import { install, predict, request, serving, showLogsOnFailure, train, until, type Installation } from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/* Files of a version that are damaged, or gone, while it serves and before it is released. */

const manual = { ...quickModel.release, when: 'manual' }
const place: Installation = install({
  ...quickFiles({
    models: { hurt: { ...quickModel, release: manual }, sound: { ...quickModel, params: { file: 'sound.onnx' } } },
  }),
  'sound.onnx': logisticModel({ weights: [2, -0.9] }),
})
let origin: string

beforeAll(async () => {
  await place.up()
  await Promise.all([train(place, 'hurt'), train(place, 'sound')])
  await place.api.releases.create({ ref: 'hurt@1', why: 'the first one', by: 'test' })
  origin = new URL((await serving(place, 'hurt', 'hurt@1')).url!).origin
  await serving(place, 'sound', 'sound@1')
})
beforeEach(() => showLogsOnFailure(place))
afterAll(() => place.remove())

const urlOf = (endpoint: string) => `${origin}/v2/models/${endpoint}/infer`
const endpointNamed = async (name: string) => (await place.api.endpoints.list()).find((e) => e.name === name)!

/** Where the version's model file is kept. */
async function fileOf(ref: string): Promise<string> {
  const { artifacts } = await place.api.versions.get({ ref })
  const hex = artifacts.find(({ name }) => name === 'model')!.digest.replace('sha256:', '')
  return join(place.dataDir, 'artifacts', 'sha256', hex.slice(0, 2), hex)
}

/** The same number of bytes, one bit of which is another; done again it is undone. */
function flipBit(path: string): void {
  const bytes = readFileSync(path)
  bytes[bytes.length >> 1]! ^= 1
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
  chmodSync(path, 0o444)
}

async function killReplicasOf(endpoint: string): Promise<void> {
  const { replicas, processes, endpoints } = await place.api.status.get()
  const deployments = endpoints.find(({ name }) => name === endpoint)!.members.map(({ deployment }) => deployment)
  const killed = replicas.filter(({ deployment }) => deployments.includes(deployment)).map(({ id }) => id)
  const pids = processes.flatMap(({ id, pid }) => (killed.includes(id) && pid !== null ? [pid] : []))
  expect(pids).toHaveLength(1)
  for (const pid of pids) process.kill(pid, 'SIGKILL')
}

describe('a model file that changes on disk', () => {
  it('changes no answer of the replicas that have it; one that starts refuses it, and the status says why', async () => {
    const before = await predict(urlOf('hurt'), row(1, 0))
    const path = await fileOf('hurt@1')
    flipBit(path)
    expect(await predict(urlOf('hurt'), row(1, 0))).toMatchObject({ version: '1', score: before.score })

    await killReplicasOf('hurt')
    const reason = /changed on disk|hashes to/
    await until('the reason', async () => {
      const { state, why } = await endpointNamed('hurt')
      return state === 'down' && reason.test(why ?? '')
    })
    const { stdout } = await place.millrace(['status'])
    expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(reason)
    expect(await request(urlOf('hurt'), { inputs: row(1, 0) })).toMatchObject({
      status: 503,
      body: { error: expect.stringContaining('no replica') },
    })
    expect(await predict(urlOf('sound'), row(1, 0))).toMatchObject({ version: '1' })

    flipBit(path)
    await serving(place, 'hurt', 'hurt@1')
    expect(await predict(urlOf('hurt'), row(1, 0))).toMatchObject({ version: '1', score: before.score })
  })
})

describe('a model file that is gone', () => {
  it('fails the release that needs it, with the reason, and the champion serves on', async () => {
    const { version } = await train(place, 'hurt', { file: 'better.onnx' })
    expect(version).toMatchObject({ ref: 'hurt@2', status: 'passed' })
    unlinkSync(await fileOf('hurt@2'))
    const { id } = await place.api.releases.create({ ref: 'hurt@2', why: 'better', by: 'test' })
    const failed = await until('the release to fail', async () => {
      const release = await place.api.releases.get({ id })
      return release.status === 'failed' ? release : null
    })
    expect(failed.why).toMatch(/not in the store|no such file|ENOENT/)
    expect(await predict(urlOf('hurt'), row(1, 0))).toMatchObject({ version: '1' })
  })

  it('is there again once it is made again, also for the version that had lost it', async () => {
    expect((await train(place, 'hurt', { file: 'better.onnx' })).run).toMatchObject({ status: 'succeeded' })
    await place.api.releases.create({ ref: 'hurt@2', why: 'better', by: 'test' })
    await serving(place, 'hurt', 'hurt@2')
  })
})

describe('a lake that can not be written to', () => {
  it('is said by the status; nothing is lost, and nobody is refused meanwhile', async () => {
    const folder = join(place.dataDir, 'lake', 'data')
    await predict(urlOf('sound'), row(1, 0))
    await until('the lake to be there', () => existsSync(folder))
    renameSync(folder, `${folder}-aside`)
    writeFileSync(folder, 'no folder')
    await until('the warning', async () => {
      expect(await predict(urlOf('sound'), row(1, 0))).toMatchObject({ version: '1' })
      const { warnings } = await place.api.status.get()
      return warnings.some(({ text }) => /can't be moved into the lake: .*data/.test(text))
    })

    rmSync(folder)
    renameSync(`${folder}-aside`, folder)
    await until('everything to be in the lake', async () => {
      const { agrees, answered, inLake, dropped } = await place.api.predictionLog.status()
      return agrees && dropped === 0 && inLake === answered
    })
    // The job writes the last of it a moment before the control plane hears that it succeeded.
    await until('the warning to be gone', async () => {
      const { warnings } = await place.api.status.get()
      return warnings.every(({ text }) => !text.includes('lake'))
    })
  })
})
