import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom, type Random } from '../../src/kernel/stats/random.ts'
import { Changes } from './changes.ts'
import { auditControl, untilQuiet, type ControlAudit } from './control-audit.ts'
import { Installation } from './installation.ts'
import { auditLake, type LakeAudit } from './lake-audit.ts'
import { planRounds, type Round } from './plan.ts'
import { landData, makeProject, MODEL, readWitness, type TestProject } from './project.ts'
import { Traffic } from './traffic.ts'
import { nowMs, until } from './until.ts'
import { victims, type Killed, type VictimKind } from './victims.ts'

/** What one run of the suite has seen; the tests judge it, and the table shows it. */
export interface Evidence {
  seed: number
  rounds: number
  tookMs: number
  kills: { kind: VictimKind; alone: boolean; /** Null: it had just ended by itself. */ recoveryMs: number | null }[]
  /** Longest time between two answers while only the control plane was dead, or only the supervisor; in ms. */
  controlGapMs: number
  lake: LakeAudit
  control: ControlAudit
  /** What was found wrong at the checks on the way. */
  complaintsOnTheWay: string[]
  /** Processes, sockets and records after `down`: at each restart and at the end. */
  leftBehind: string[]
}

export interface Party {
  project: TestProject
  installation: Installation
  traffic: Traffic
  changes: Changes
}

const CHECK_EVERY = 25
const FIRST_VERSION_MS = 120_000
/** In this order: a model server is chosen while the control plane can still tell which are ready. */
const ORDER: VictimKind[] = [
  'step',
  'evaluate job',
  'ingest job',
  'model server',
  'gateway',
  'control plane',
  'supervisor',
]

export class CrashRun {
  readonly evidence: Evidence
  private readonly party: Party
  private readonly random: Random
  private readonly plan: Round[]
  private readonly startMs = nowMs()
  private isOver = false

  private constructor(seed: number, rounds: number, party: Party, random: Random) {
    this.party = party
    this.random = random
    this.plan = planRounds(rounds, seededRandom(seed))
    this.evidence = emptyEvidence(seed, rounds)
  }

  /** Up, a first version trained and live, the client at work. */
  static async start(seed: number, rounds: number): Promise<CrashRun> {
    const project = makeProject()
    const installation = await Installation.prepare(project)
    try {
      await installation.up()
      landData(project, 'week-0000.csv')
      await until('the first version to be live', () => isLive(installation), { withinMs: FIRST_VERSION_MS })
    } catch (error) {
      await installation.down()
      installation.dismissGuard()
      throw error
    }
    const traffic = new Traffic(installation.port, MODEL)
    const changes = new Changes(installation, project, seededRandom(seed + 1))
    return new CrashRun(seed, rounds, { project, installation, traffic, changes }, seededRandom(seed + 2))
  }

  get traffic(): Traffic {
    return this.party.traffic
  }

  get changes(): Changes {
    return this.party.changes
  }

  /** What is to be judged. @throws where the run did not come to its end, so that nothing counts as right unseen */
  get judged(): Evidence {
    if (!this.isOver) throw new Error('The run did not come to its end: this was not counted.')
    return this.evidence
  }

  async run(): Promise<void> {
    const { traffic, changes } = this.party
    await traffic.answeredAfter(nowMs())
    changes.start()
    for (const [i, round] of this.plan.entries()) {
      await this.round(i + 1, round)
      const isCheck = (i + 1) % CHECK_EVERY === 0 && i + 1 < this.plan.length
      if (isCheck) await this.checkOnTheWay()
    }
    await this.check()
    await this.stop()
    this.evidence.tookMs = nowMs() - this.startMs
    this.isOver = true
  }

  /** For the end, also of a run that has failed: nothing is left on the machine but the logs of a failure. */
  async clear(isFine: boolean): Promise<string | null> {
    this.party.traffic.stop()
    await this.party.changes.stop().catch((error: unknown) => console.error('The person stopped with', error))
    if (this.party.installation.orphans().length > 0) await this.party.installation.down()
    this.party.installation.dismissGuard()
    if (!isFine) return this.party.project.dataDir
    this.party.project.remove()
    return null
  }

  private async round(number: number, round: Round): Promise<void> {
    const startMs = nowMs()
    await sleep(round.afterMs)
    const told = round.kind === 'restart' ? await this.restart() : await this.kill(round.victims)
    console.info(`round ${number} of ${this.plan.length}: ${told} (${seconds(nowMs() - startMs)})`)
  }

  private async kill(kinds: VictimKind[]): Promise<string> {
    const { installation, traffic } = this.party
    const killed: Killed[] = []
    traffic.watchGaps()
    for (const kind of ORDER.filter((k) => kinds.includes(k))) {
      const victim = await victims[kind]({ installation, traffic, random: this.random })
      if (victim !== null) killed.push(victim)
    }
    const told = await Promise.all(killed.map((victim) => this.awaitRecovery(victim, killed.length === 1)))
    const servesOn = kinds.every((kind) => kind === 'control plane' || kind === 'supervisor')
    if (servesOn) this.evidence.controlGapMs = Math.max(this.evidence.controlGapMs, traffic.longestGapMs)
    return killed.length === 0 ? `no ${kinds.join(', ')} to kill` : told.join('; ')
  }

  private async awaitRecovery({ kind, what, atMs, recovered }: Killed, alone: boolean): Promise<string> {
    const untilMs = await recovered()
    const recoveryMs = untilMs === null ? null : untilMs - atMs
    this.evidence.kills.push({ kind, alone, recoveryMs })
    return `${what} ${recoveryMs === null ? 'had ended' : `back after ${seconds(recoveryMs)}`}`
  }

  private async restart(): Promise<string> {
    const { installation, traffic } = this.party
    const outage = traffic.beginOutage(nowMs(), 'planned')
    await installation.down()
    this.lookForLeftovers('restart')
    await installation.up()
    outage.untilMs = await traffic.answeredAfter(nowMs())
    return `down and up, no answers for ${seconds(outage.untilMs - outage.fromMs)}`
  }

  private async checkOnTheWay(): Promise<void> {
    await this.check()
    const { lake, control, complaintsOnTheWay } = this.evidence
    complaintsOnTheWay.push(...lake.lost.map((id) => `lost ${id}`), ...lake.doubled.map((id) => `doubled ${id}`))
    complaintsOnTheWay.push(...control.lostChanges, ...control.repeatedSteps)
    this.party.traffic.resume()
    this.party.changes.start()
  }

  private async check(): Promise<void> {
    const { installation, traffic, changes, project } = this.party
    await changes.stop()
    await untilQuiet(installation.api)
    await traffic.answeredAfter(nowMs())
    await traffic.pause()
    this.evidence.lake = await auditLake(installation.api, traffic)
    this.evidence.control = await auditControl(installation.api, changes, readWitness(project))
    console.info(`checked: ${traffic.acknowledged.size} predictions, ${this.evidence.control.runs} runs`)
  }

  private async stop(): Promise<void> {
    this.party.traffic.stop()
    await this.party.installation.down()
    this.lookForLeftovers('the end')
  }

  private lookForLeftovers(when: string): void {
    const { installation } = this.party
    const left = [...installation.orphans(), ...installation.sockets(), ...installation.records()]
    this.evidence.leftBehind.push(...left.map((what) => `${when}: ${what}`))
  }
}

async function isLive({ impatientApi }: Installation): Promise<boolean> {
  const [endpoint] = await impatientApi.endpoints.list()
  return endpoint?.state === 'serving'
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`

function emptyEvidence(seed: number, rounds: number): Evidence {
  return {
    seed,
    rounds,
    tookMs: 0,
    kills: [],
    controlGapMs: 0,
    lake: { lost: [], doubled: [], unacknowledged: 0, labelsLost: [], disagreement: null },
    control: {
      lostChanges: [],
      repeatedSteps: [],
      badEnds: [],
      runs: 0,
      steps: 0,
      attempts: 0,
      versions: 0,
      releases: 0,
      retired: 0,
      deleted: 0,
    },
    complaintsOnTheWay: [],
    leftBehind: [],
  }
}
