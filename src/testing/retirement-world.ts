import type { RetirementConfig } from '../config/project.ts'
import { rollbackTarget } from '../control/release/decide-rollback-target.ts'
import {
  decideRetirement,
  mayAct,
  type RetirementAct,
  type RetirementView,
} from '../control/retirement/decide-retirement.ts'
import { holders, unused, type UseFacts } from '../control/retirement/holders.ts'
import {
  decideUse,
  retirementMachine,
  type Retirement,
  type RetirementStatus,
} from '../control/retirement/retirement.ts'

/**
 * One model with its versions, route, releases, callers and files, in which everything that can happen happens in any
 * order: the retirement stage's pure decisions run in it as they do over the store. A look and each of its acts are
 * events of their own, so that anything may come between them; a crash forgets what was decided and not done.
 *
 * What is in use is also known here by other means than the guard's, see `usesOf`: that is what is checked.
 */
export class RetirementWorld {
  readonly versions: WorldVersion[] = []
  /** Digests on disk. */
  readonly files = new Set<string>()
  readonly config: RetirementConfig
  /** False: the in-use guard says of everything that it is free, to see that it would be noticed. */
  guarded = true
  /** How often each status was entered, and how often the guard kept a look's act from being done. */
  readonly entered = new Map<RetirementStatus, number>()
  prevented = 0
  #random: () => number
  #calendarMs = 400 * DAY_MS
  #champion: number | null = null
  #previous: number | null = null
  #alias: number | null = null
  #fallback: number | null = null
  #disabled = false
  #members: { version: number; weightPercent: number }[] = []
  #mirrors: number[] = []
  #release: {
    kind: 'release' | 'rollback'
    version: number
    status: 'queued' | 'deploying' | 'shadowing' | 'canary'
  } | null = null
  #evaluation: { version: number; champion: number | null } | null = null
  #reader: number | null = null
  #lost: number[] = []
  #frozen = false
  #history: { versionId: string; byRollback: boolean }[] = []
  /** Decided by a look, not done yet. */
  #acts: { version: number; seen: RetirementStatus; act: RetirementAct }[] = []
  /** Files of a version that is being deleted were looked at, and are about to be removed or recorded. */
  #removing: { version: number; shared: boolean; removed: boolean } | null = null

  constructor(random: () => number) {
    this.#random = random
    this.config = {
      keepLast: Math.floor(random() * 3),
      maxAgeMs: random() < 0.5 ? null : 5 * DAY_MS,
      idleMs: random() < 0.5 ? null : 2 * DAY_MS,
      superseded: random() < 0.7,
      deleteAfterMs: DAY_MS,
      pinMs: 4 * DAY_MS,
      outdated: { windowMs: DAY_MS, minRows: 1, margin: 0 },
    }
    // It begins in the middle: some versions, of which some have been champion.
    const known = Math.floor(random() * 6)
    for (let i = 0; i < known; i++) {
      this.newVersion()
      this.decide()
      if (random() < 0.5) {
        this.release()
        for (let turn = 0; turn < 4; turn++) this.advance()
      }
      this.tidy()
    }
  }

  /** Something happens. @returns its name */
  step(): string {
    const name = eventNames[Math.floor(this.#random() * eventNames.length)]!
    this[name]()
    return name
  }

  /** @throws where something in use was taken away */
  check(): void {
    for (const v of this.versions) {
      if (v.status !== 'deleting' && v.status !== 'deleted') assert(this.files.has(v.digest), v, 'has lost its file')
      if (v.status === 'kept' || v.status === 'proposed') continue
      const uses = this.usesOf(v.number)
      if (uses.length === 0) continue
      // Whoever asks before use has it back at once; only what asks nobody waits for the next look.
      const isBeyond = v.status === 'deleting' || v.status === 'deleted'
      const asked = isBeyond ? uses : uses.filter((use) => !unasked.has(use))
      assert(asked.length === 0, v, `is in use: ${asked.join(', ')}`)
    }
    for (const number of [...this.#members.map((m) => m.version), ...this.#mirrors]) {
      const v = this.#of(number)
      assert(['kept', 'proposed'].includes(v.status), v, 'is in the route')
      assert(v.deployment === 'ready', v, 'is in the route without a deployment')
    }
  }

  /** Every use of a version, by what has happened: independent of the guard. */
  usesOf(number: number): string[] {
    const v = this.#of(number)
    const uses: string[] = []
    const use = (holds: boolean, what: string) => void (holds && uses.push(what))
    use(
      this.#members.some((m) => m.version === number),
      'live',
    )
    use(this.#mirrors.includes(number), 'mirror')
    use(this.#release?.version === number, 'release')
    use(this.#evaluation?.version === number || this.#evaluation?.champion === number, 'evaluation')
    use(this.#champion === number, 'champion')
    use(this.#previous === number, 'previous')
    use(this.#alias === number, 'alias')
    use(this.#fallback === number, 'fallback')
    use(this.#reader === number, 'reader')
    use(v.pinnedMs !== null && this.#calendarMs - v.pinnedMs < this.config.pinMs, 'pin')
    use(v.inFlight > 0, 'request')
    use(v.keptUntilMs !== null && this.#calendarMs < v.keptUntilMs, 'person')
    use(v.deployment === 'ready' && !this.versions.some((o) => o !== v && o.deployment === 'ready'), 'last healthy')
    use(this.#lost.includes(number), 'freeze')
    return uses
  }

  newVersion(): void {
    if (this.versions.length >= VERSIONS_MAX) return
    const number = this.versions.length + 1
    // Few contents, so that files are shared.
    const digest = `file-${Math.floor(this.#random() * 4)}`
    this.files.add(digest)
    this.versions.push({
      number,
      digest,
      status: 'kept',
      policy: null,
      statusMs: this.#calendarMs,
      createdMs: this.#calendarMs,
      undecided: true,
      usable: false,
      deployment: 'none',
      inFlight: 0,
      pinnedMs: null,
      keptUntilMs: null,
      lastUsedMs: this.#calendarMs,
      noWorse: false,
      outdated: false,
    })
  }

  decide(): void {
    const v = this.#any((o) => o.undecided && this.#evaluation?.version !== o.number)
    if (v === null) return
    v.undecided = false
    v.usable = this.#random() < 0.7
  }

  evaluate(): void {
    if (this.#evaluation !== null) {
      this.#evaluation = null
      return
    }
    const v = this.#any((o) => o.undecided)
    if (v === null || !this.#begin(v)) return
    if (this.#champion !== null && !this.#begin(this.#of(this.#champion))) return
    this.#evaluation = { version: v.number, champion: this.#champion }
  }

  measure(): void {
    const v = this.#any(() => true)
    if (v === null) return
    if (this.#random() < 0.5) v.noWorse = !v.noWorse
    else v.outdated = !v.outdated
  }

  release(): void {
    const v = this.#any((o) => !o.undecided && o.number !== this.#champion)
    if (v === null || this.#release !== null || !this.#begin(v)) return
    this.#release = { kind: 'release', version: v.number, status: 'queued' }
  }

  /** To what `rollback` without a target would choose; overrules what is under way. */
  rollback(): void {
    const target = rollbackTarget(this.#history, (id) => !['deleting', 'deleted'].includes(this.#of(Number(id)).status))
    if (target === null || !this.#begin(this.#of(Number(target)))) return
    this.cancel()
    this.#release = { kind: 'rollback', version: Number(target), status: 'queued' }
  }

  /** One step of what is under way. */
  advance(): void {
    const release = this.#release
    if (release === null) return
    const v = this.#of(release.version)
    if (release.status === 'queued') {
      if (v.deployment !== 'ready') v.deployment = 'ready'
      release.status = 'deploying'
    } else if (release.kind === 'rollback' || this.#champion === null || release.status === 'canary') {
      this.#flip(v, release.kind === 'rollback')
    } else if (release.status === 'deploying' && this.#random() < 0.3) {
      release.status = 'shadowing'
      this.#mirrors = [v.number]
    } else {
      release.status = 'canary'
      this.#mirrors = []
      this.#members = [
        { version: this.#champion, weightPercent: 90 },
        { version: v.number, weightPercent: 10 },
      ]
    }
  }

  /** Fails, is rolled back from its canary, or is cancelled: the champion has everything again. */
  cancel(): void {
    if (this.#release === null) return
    this.#release = null
    this.#mirrors = []
    if (this.#champion !== null) this.#members = [{ version: this.#champion, weightPercent: 100 }]
  }

  unfreeze(): void {
    this.#lost = []
  }

  setAlias(): void {
    const v = this.#any(() => true)
    if (this.#random() < 0.6) this.#alias = null
    else if (v !== null && this.#begin(v)) this.#alias = v.number
  }

  /** A configuration asks nobody; one that names what is deleted has no effect. */
  configure(): void {
    const v = this.#any((o) => o.status !== 'deleting' && o.status !== 'deleted')
    this.#fallback = v === null || this.#random() < 0.5 ? null : v.number
  }

  disable(): void {
    this.#disabled = !this.#disabled
  }

  /** A caller names a version: also one whose replicas are about to end. */
  pin(): void {
    const v = this.#any((o) => o.deployment !== 'none')
    if (v === null || this.#disabled) return
    if (v.status === 'proposed' || v.status === 'draining') this.#begin(v)
    v.pinnedMs = Math.max(v.pinnedMs ?? 0, this.#calendarMs)
    v.lastUsedMs = Math.max(v.lastUsedMs, this.#calendarMs)
  }

  request(): void {
    const v = this.#any((o) => o.deployment === 'ready')
    if (v !== null) v.inFlight++
  }

  answer(): void {
    for (const v of this.versions) v.inFlight = 0
  }

  /** A job reads what it finds, and says so before. */
  read(): void {
    const v = this.#any(() => true)
    if (this.#reader !== null) this.#reader = null
    else if (v !== null && this.#begin(v)) this.#reader = v.number
  }

  keep(): void {
    const v = this.#any(() => true)
    if (v === null || !this.#begin(v)) return
    v.keptUntilMs = this.#calendarMs + Math.floor(this.#random() * 6) * DAY_MS
    v.policy = 'person'
  }

  retire(): void {
    const v = this.#any((o) => o.status === 'kept')
    if (v === null || this.#heldBy(v).length > 0) return
    this.#move(v, 'propose')
    v.policy = 'person'
  }

  revive(): void {
    const v = this.#any((o) => o.status !== 'kept')
    if (v !== null) this.#begin(v)
  }

  suspect(): void {
    this.#frozen = this.#random() < 0.2
  }

  passTime(): void {
    this.#calendarMs += Math.floor(this.#random() * 5) * DAY_MS
  }

  /** An operator sets the calendar back. */
  turnBack(): void {
    this.#calendarMs -= Math.floor(this.#random() * 3) * DAY_MS
  }

  /** Deployments that nobody needs end, as the deployment controller has them: it knows nothing of retirement. */
  tidy(): void {
    for (const v of this.versions) {
      const needed = this.usesOf(v.number).some((use) =>
        ['live', 'mirror', 'release', 'previous', 'fallback', 'pin'].includes(use),
      )
      if (v.deployment === 'ready' && !needed) v.deployment = 'draining'
      else if (v.deployment === 'draining' && v.inFlight === 0) v.deployment = 'none'
    }
  }

  /** A fallback that is declared is deployed. */
  deployFallback(): void {
    if (this.#fallback === null) return
    const v = this.#of(this.#fallback)
    if (v.status === 'deleting' || v.status === 'deleted' || v.deployment !== 'none') return
    v.deployment = 'ready'
  }

  look(): void {
    const views = this.versions.filter((v) => v.status !== 'deleted').map((v) => this.#view(v))
    const champion = this.#champion === null ? null : { versionId: String(this.#champion), number: this.#champion }
    const frozen = this.#frozen ? 'the data is suspected' : null
    const question = { versions: views, champion, config: this.config, calendarMs: this.#calendarMs, frozen }
    this.#acts = decideRetirement(question).flatMap(({ view, act }) =>
      act === null ? [] : [{ version: view.number, seen: view.retirement?.status ?? 'kept', act }],
    )
  }

  /** Looks with nothing in between. */
  work(): void {
    this.look()
    while (this.#acts.length > 0) this.act()
  }

  act(): void {
    const wish = this.#acts.splice(Math.floor(this.#random() * this.#acts.length), 1)[0]
    if (wish === undefined) return
    const v = this.#of(wish.version)
    const heldBy = this.#heldBy(v)
    const isRunning = v.deployment !== 'none'
    if (!mayAct(wish.act, wish.seen, { status: v.status, heldBy, isRunning, isProtected: this.#isProtected(v) })) {
      if (wish.seen === v.status && heldBy.length > 0) this.prevented++
      return
    }
    if (wish.act.kind === 'note') return
    if (wish.act.kind === 'propose') assert(!this.#isProtected(v), v, 'is proposed although a person keeps it')
    const goesOut = ['drain', 'stop', 'cool', 'delete'].includes(wish.act.kind)
    if (goesOut)
      assert(this.usesOf(v.number).length === 0, v, `is ${wish.act.kind}ed in use: ${this.usesOf(v.number).join(', ')}`)
    this.#move(v, wish.act.kind)
    v.policy = wish.act.policy
  }

  /** Looks whether a file is shared, removes it, and records it: three moments, and a crash may come between. */
  remove(): void {
    const now = this.#removing
    if (now === null) {
      const v = this.#any((o) => o.status === 'deleting')
      if (v === null) return
      const shared = this.versions.some((o) => o !== v && o.digest === v.digest && o.status !== 'deleted')
      this.#removing = { version: v.number, shared, removed: false }
      return
    }
    const v = this.#of(now.version)
    if (!now.removed) {
      // What was put since is kept: its time says so.
      const putSince = this.versions.some((o) => o !== v && o.digest === v.digest && o.status !== 'deleted')
      if (!now.shared && !putSince) this.files.delete(v.digest)
      this.#removing = { ...now, removed: true }
      return
    }
    this.#move(v, 'remove')
    this.#removing = null
  }

  crash(): void {
    this.#acts = []
    this.#removing = null
    this.#reader = null
  }

  #flip(v: WorldVersion, byRollback: boolean): void {
    const before = this.#champion
    this.#release = null
    this.#mirrors = []
    this.#members = [{ version: v.number, weightPercent: 100 }]
    if (before === v.number) return
    this.#champion = v.number
    this.#history.push({ versionId: String(v.number), byRollback })
    v.usable = true
    if (!byRollback) {
      this.#previous = before
      return
    }
    if (before !== null) this.#lost.push(before)
    const target = rollbackTarget(this.#history, (id) => !['deleting', 'deleted'].includes(this.#of(Number(id)).status))
    this.#previous = target !== null && this.#begin(this.#of(Number(target))) ? Number(target) : null
  }

  /** As beginUse does. @returns false where it is refused */
  #begin(v: WorldVersion): boolean {
    const decision = decideUse(v.status)
    if (decision === 'refuse') return false
    if (decision === 'use') return true
    this.#move(v, decision)
    v.policy = 'use'
    return true
  }

  #move(v: WorldVersion, event: Parameters<typeof retirementMachine.transition>[1]): void {
    v.status = retirementMachine.transition(v.status, event)
    this.entered.set(v.status, (this.entered.get(v.status) ?? 0) + 1)
    v.statusMs = this.#calendarMs
    // A protection that was over when it was proposed does not come back with a calendar that is set back.
    if (v.status !== 'kept') v.keptUntilMs = null
  }

  #isProtected(v: WorldVersion): boolean {
    return v.keptUntilMs !== null && this.#calendarMs < v.keptUntilMs
  }

  #heldBy(v: WorldVersion): string[] {
    return this.guarded ? holders(this.#facts(v), this.#calendarMs, this.config.pinMs) : []
  }

  #facts(v: WorldVersion): UseFacts {
    const { number } = v
    const evaluation = this.#evaluation
    const aliases = [
      ...(this.#champion === number ? ['champion'] : []),
      ...(this.#previous === number ? ['previous'] : []),
    ]
    if (this.#alias === number) aliases.push('stable')
    const member = this.#members.find((m) => m.version === number)
    const routes = member === undefined ? [] : [{ endpoint: 'm', weightPercent: member.weightPercent, mirror: false }]
    if (this.#mirrors.includes(number)) routes.push({ endpoint: 'm', weightPercent: 100, mirror: true })
    const healthy = this.versions.filter((o) => o.deployment === 'ready')
    return {
      ...unused(String(number)),
      routes,
      releases:
        this.#release?.version === number ? [{ id: 'release-1', status: this.#release.status, as: 'target' }] : [],
      evaluations:
        evaluation !== null && (evaluation.version === number || evaluation.champion === number)
          ? ['evaluation-1']
          : [],
      aliases,
      fallbackOf: this.#fallback === number ? ['m'] : [],
      pins: v.pinnedMs === null ? [] : [{ caller: 'desk', lastCalendarMs: v.pinnedMs }],
      lastHealthyOf: healthy.length === 1 && healthy[0] === v ? 'm' : null,
      lostTo: this.#lost.includes(number) ? 'freeze-1' : null,
      readers: [...(this.#reader === number ? ['a job'] : []), ...(v.undecided ? ['the gate'] : [])],
      inFlight: v.inFlight,
      keptBy: v.keptUntilMs === null ? null : { by: 'ann', why: 'audit', untilCalendarMs: v.keptUntilMs },
    }
  }

  #view(v: WorldVersion): RetirementView {
    const retirement: Retirement | null =
      v.status === 'kept' && v.policy === null
        ? null
        : {
            versionId: String(v.number),
            model: 'm',
            status: v.status,
            policy: v.policy ?? 'use',
            why: 'so',
            heldBy: [],
            proposedAtMs: 0,
            statusAtMs: 0,
            statusCalendarMs: v.statusMs,
            by: 'test',
            keptUntilCalendarMs: v.keptUntilMs,
          }
    return {
      versionId: String(v.number),
      number: v.number,
      retirement,
      heldBy: this.#heldBy(v),
      createdCalendarMs: v.createdMs,
      undecided: v.undecided,
      usable: v.usable,
      inService: this.#champion === v.number || this.#previous === v.number,
      everChampion: this.#history.some((h) => h.versionId === String(v.number)),
      lastUsedCalendarMs: v.lastUsedMs,
      longestGapMs: 0,
      noWorse: v.noWorse && this.#champion !== null ? { versionId: String(this.#champion), why: 'equal' } : null,
      outdated: v.outdated ? 'twice below the floor' : null,
      running: v.deployment === 'none' ? [] : ['deployment-1'],
      read: null,
    }
  }

  #any(isFit: (v: WorldVersion) => boolean): WorldVersion | null {
    const fit = this.versions.filter(isFit)
    return fit[Math.floor(this.#random() * fit.length)] ?? null
  }

  #of = (number: number): WorldVersion => this.versions[number - 1]!
}

interface WorldVersion {
  number: number
  digest: string
  status: RetirementStatus
  policy: Retirement['policy'] | null
  statusMs: number
  createdMs: number
  undecided: boolean
  usable: boolean
  deployment: 'none' | 'ready' | 'draining'
  inFlight: number
  pinnedMs: number | null
  keptUntilMs: number | null
  lastUsedMs: number
  noWorse: boolean
  outdated: boolean
}

const DAY_MS = 24 * 3_600_000
const VERSIONS_MAX = 8

/** Uses that begin without asking: a call, a declared fallback, what is left of a deployment. The next look revives. */
const unasked = new Set(['pin', 'request', 'fallback', 'last healthy'])

/** What happens often stands more than once. */
const eventNames = [
  ...(['newVersion', 'newVersion', 'decide', 'decide', 'decide', 'evaluate', 'evaluate', 'measure'] as const),
  ...(['release', 'release', 'advance', 'advance', 'advance', 'advance', 'rollback', 'cancel', 'unfreeze'] as const),
  ...(['setAlias', 'configure', 'disable', 'pin', 'request', 'answer', 'answer', 'answer', 'read', 'read'] as const),
  ...(['keep', 'retire', 'revive', 'suspect', 'passTime', 'passTime', 'passTime', 'passTime', 'turnBack'] as const),
  ...(['tidy', 'tidy', 'tidy', 'deployFallback', 'look', 'look', 'act', 'act', 'act', 'act', 'crash'] as const),
  ...(['work', 'work', 'work', 'work', 'remove', 'remove', 'remove', 'remove'] as const),
]

function assert(holds: boolean, v: WorldVersion, what: string): void {
  if (!holds) throw new Error(`version ${v.number}, ${v.status}, ${what}`)
}

/** Mulberry32: 32 bits of state, the same numbers for a seed everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
