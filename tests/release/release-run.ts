import { join } from 'node:path'
import { MillraceError } from '../../src/kernel/errors.ts'
import { seededRandom, type Random } from '../../src/kernel/stats/random.ts'
import { logisticModel } from '../../src/testing/onnx-builder.ts'
import { nowMs } from '../../src/testing/open-loop.ts'
import { install, query, until, type Installation } from '../harness.ts'
import { quickFiles, quickModel } from '../quick-project.ts'
import { Killer, timesToRemoval } from './killer.ts'
import { Load } from './load.ts'

/** How much of everything; by environment variables, see release-load.test.ts. */
export interface Amounts {
  releases: number
  canaries: number
  rollbacks: number
  disables: number
  retirements: number
  requestsPerSecond: number
  killEveryMs: number
  seed: number
}

/** Times in ms. */
export interface Evidence {
  releases: number[]
  canaries: number[]
  /** R5, from the command until nobody else answered. */
  rollbacks: number[]
  /** R6, likewise. */
  disables: number[]
  enables: number[]
  retired: string[]
  kills: number
  /** R4, for those kills after which a request was still sent to the dead. */
  removals: number[]
  /** Predictions in the lake. */
  log: Logged
  complaints: string[]
  tookMs: number
}

export interface Logged {
  live: number
  fallback: number
  /** Copies whose live prediction is not there, and live ones of a shadow's endpoint that were copied twice. */
  unpaired: number
  disagreement: string | null
}

const MAIN = 'coin'
const CANARY = 'dice'
const WAIT_MS = 240_000
const BY = 'test'

/** One Millrace under load, to which everything is done that moves traffic, while its replicas are killed. */
export class ReleaseRun {
  readonly main: Load
  readonly canary: Load
  readonly evidence: Evidence = {
    releases: [],
    canaries: [],
    rollbacks: [],
    disables: [],
    enables: [],
    retired: [],
    kills: 0,
    removals: [],
    log: { live: 0, fallback: 0, unpaired: 0, disagreement: 'not looked at' },
    complaints: [],
    tookMs: 0,
  }
  private readonly installation: Installation
  private readonly amounts: Amounts
  private readonly random: Random
  private models = 0

  private constructor(installation: Installation, amounts: Amounts, port: number) {
    this.installation = installation
    this.amounts = amounts
    this.random = seededRandom(amounts.seed)
    // Most of it where versions come and go at once; enough for evidence where they are compared first.
    const canaryShare = Math.max(20, Math.round(amounts.requestsPerSecond / 10))
    this.main = new Load(port, MAIN, amounts.requestsPerSecond - canaryShare)
    this.canary = new Load(port, CANARY, canaryShare)
  }

  /** Up, with a first version on each endpoint and the load on. */
  static async start(amounts: Amounts): Promise<{ run: ReleaseRun; installation: Installation }> {
    const { releases, canaries, retirements } = amounts
    if (retirements > releases - canaries)
      throw new RangeError(`${retirements} retirements need as many releases without a canary: ${releases - canaries}`)
    const installation = install(quickFiles({ models: { [MAIN]: mainModel, [CANARY]: canaryModel } }))
    try {
      await installation.up()
      for (const model of [MAIN, CANARY]) await importModel(installation, model, 0)
      for (const model of [MAIN, CANARY]) await live(installation, model, `${model}@1`)
      const [endpoint] = await installation.api.endpoints.list()
      return { run: new ReleaseRun(installation, amounts, endpoint!.port!), installation }
    } catch (error) {
      console.error(installation.logs())
      await installation.remove()
      throw error
    }
  }

  async run(): Promise<void> {
    const startMs = nowMs()
    const killer = new Killer(this.installation, this.random, this.amounts.killEveryMs)
    try {
      for (const act of this.plan()) await act()
    } finally {
      await killer.stop()
      await Promise.all([this.main.stop(), this.canary.stop()])
    }
    this.evidence.complaints.push(...killer.skipped.map((why) => `a kill failed: ${why}`))
    this.evidence.kills = killer.kills.length
    this.evidence.removals = timesToRemoval(this.installation, killer.kills).flatMap((ms) => ms ?? [])
    this.evidence.tookMs = nowMs() - startMs
    this.evidence.log = await this.readLog()
  }

  /** What clients were told. */
  expectedLog(): Logged {
    const answered = [...this.main.answered, ...this.canary.answered]
    const fallback = answered.filter(([, , who]) => who === 'constant').length
    return { live: answered.length - fallback, fallback, unpaired: 0, disagreement: null }
  }

  private async readLog(): Promise<Logged> {
    const { api } = this.installation
    const disagreement = await until(
      'the log to be in the lake',
      async () => {
        const { agrees, inSpool } = await api.predictionLog.status()
        return agrees && inSpool === 0
      },
      { withinMs: 60_000, everyMs: 500 },
    ).then(
      () => null,
      (error: unknown) => String(error),
    )
    const count = async (sql: string) => Number((await query(this.installation, sql))[0]![0])
    const copies = `from predictions_all c where origin = 'shadow'`
    const [live, fallback, lost, doubled] = [
      await count(`select count(*) from predictions_all where origin = 'live'`),
      await count(`select count(*) from predictions_all where origin = 'fallback' and version = ''`),
      await count(
        `select count(*) ${copies} and not exists (from predictions_all p where p.prediction_id = c.shadow_of)`,
      ),
      await count(`select count(*) - count(distinct (version, shadow_of)) ${copies}`),
    ]
    return { live, fallback, unpaired: lost + doubled, disagreement }
  }

  /** Releases, with everything else spread evenly between them. */
  private plan(): (() => Promise<void>)[] {
    const { releases, canaries, rollbacks, disables, retirements } = this.amounts
    const isDue = (n: number, count: number) =>
      Math.floor((n * count) / releases) > Math.floor(((n - 1) * count) / releases)
    const acts: (() => Promise<void>)[] = []
    for (let n = 1; n <= releases; n++) {
      acts.push(isDue(n, canaries) ? () => this.releaseByCanary() : () => this.release())
      if (isDue(n, rollbacks)) acts.push(() => this.rollBack())
      if (isDue(n, disables)) acts.push(() => this.disable())
      if (isDue(n, retirements)) acts.push(() => this.retire())
    }
    return acts
  }

  private async release(): Promise<void> {
    const startMs = nowMs()
    const ref = await importModel(this.installation, MAIN, ++this.models)
    await live(this.installation, MAIN, ref)
    this.evidence.releases.push(nowMs() - startMs)
  }

  private async releaseByCanary(): Promise<void> {
    const startMs = nowMs()
    const ref = await importModel(this.installation, CANARY, ++this.models)
    await live(this.installation, CANARY, ref)
    this.evidence.canaries.push(nowMs() - startMs)
  }

  private async rollBack(): Promise<void> {
    const { api } = this.installation
    const fromMs = nowMs()
    const { version } = await api.releases.rollback({ endpoint: MAIN, why: 'a drill', by: BY })
    this.evidence.rollbacks.push(await this.main.takenOver(numberOf(version), fromMs))
    await live(this.installation, MAIN, version)
    await api.freezes.end({ model: MAIN, why: 'the drill is over', by: BY })
  }

  private async disable(): Promise<void> {
    const { api } = this.installation
    const [endpoint] = (await api.endpoints.list()).filter(({ name }) => name === MAIN)
    const version = endpoint!.members.find(({ weightPercent }) => weightPercent > 0)!.version
    const disabledMs = nowMs()
    await api.endpoints.disable({ endpoint: MAIN, why: 'a drill', by: BY })
    this.evidence.disables.push(await this.main.takenOver('constant', disabledMs))
    const enabledMs = nowMs()
    await api.endpoints.enable({ endpoint: MAIN, by: BY })
    this.evidence.enables.push(await this.main.takenOver(numberOf(version), enabledMs))
  }

  /** The oldest that nothing holds. */
  private async retire(): Promise<void> {
    const { api } = this.installation
    const candidate = await until(
      'a version that may be retired',
      async () => {
        const rows = await api.retirement.list({ model: MAIN })
        const free = rows.filter(
          ({ status, heldBy }) => (status === 'kept' || status === 'proposed') && heldBy.length === 0,
        )
        return free.toSorted((a, b) => Number(numberOf(a.version)) - Number(numberOf(b.version)))[0]
      },
      { withinMs: 30_000, everyMs: 200 },
    ).catch((error: unknown) => {
      this.evidence.complaints.push(String(error))
      return null
    })
    if (candidate === null) return
    const { version: ref } = candidate
    await api.retirement.retire({ ref, why: 'a drill', by: BY }).catch((error: unknown) => {
      // Millrace may have proposed it since, of its own accord.
      if (!(error instanceof MillraceError && error.code === 'MR_RETIREMENT_STATE')) throw error
    })
    await until(
      `${ref} to be out of service`,
      async () => {
        const rows = await api.retirement.list({ model: MAIN, deleted: true })
        const status = rows.find(({ version }) => version === ref)?.status
        return status === 'stopped' || status === 'cold' || status === 'deleting' || status === 'deleted'
      },
      { withinMs: WAIT_MS, everyMs: 200 },
    )
    this.evidence.retired.push(ref)
  }
}

const mainModel = {
  ...quickModel,
  serving: { replicas: 2, drain: '2s', fallback: { constant: { probabilities: 0.5 } } },
}

const canaryModel = {
  ...quickModel,
  release: {
    when: 'always',
    strategy: 'shadow',
    preflight: { rows: 20 },
    shadow: { soak: '1s', minRequests: 20 },
    canary: {
      steps: [
        { weight: 20, soak: '1s' },
        { weight: 50, soak: '1s' },
      ],
      minRequests: 20,
    },
  },
  serving: { replicas: 2, drain: '2s' },
}

/** Each a little other, so that it is another version. @returns its ref */
async function importModel(installation: Installation, model: string, n: number): Promise<string> {
  const { api, folder } = installation
  const name = `${model}-${n}.onnx`
  installation.write(name, logisticModel({ weights: [2 + n / 10_000, -1] }))
  const from = { path: join(folder, name) }
  const { ref } = await api.versions.import({ model, from, as: 'champion', why: 'a drill', by: BY })
  return ref
}

async function live({ api }: Installation, endpoint: string, version: string): Promise<void> {
  await until(
    `${version} to have all traffic`,
    async () => {
      const found = (await api.endpoints.list()).find(({ name }) => name === endpoint)
      const isLive = found?.members.some((member) => member.version === version && member.weightPercent === 100)
      if (isLive === true) return true
      const [release] = (await api.releases.list({ model: endpoint, limit: 5 })).filter(
        (one) => one.version === version,
      )
      if (release === undefined || !['failed', 'rolled-back', 'cancelled', 'held'].includes(release.status))
        return false
      throw new Error(`${release.id} of ${version} is ${release.status}: ${release.why}`)
    },
    { withinMs: WAIT_MS, everyMs: 100 },
  )
}

const numberOf = (ref: string): string => ref.split('@').at(-1)!
