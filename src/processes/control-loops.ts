import type { Topic } from '../control/control-context.ts'
import { controlLoop, type ControlLoop } from '../kernel/control-loop.ts'
import type { Log } from '../kernel/log.ts'
import { LoopTimes } from '../surface/api/metrics/loop-times.ts'

export type LoopName =
  | Topic
  | 'replicas'
  | 'ingest'
  | 'traffic'
  | 'serviceLevel'
  | 'stability'
  | 'monitoring'
  | 'notification'
  | 'artifacts'

/** Which loops look when rows of a topic have changed. */
const wakes: Record<Topic, Topic[]> = {
  trigger: ['trigger'],
  run: ['run'],
  version: ['evaluation', 'release'],
  evaluation: ['evaluation'],
  release: ['release', 'deployment'],
  deployment: ['deployment', 'release'],
  route: ['deployment', 'evaluation'],
  retirement: ['retirement'],
}

const LOOK_EVERY_MS = 1_000
/** What serves again after a start comes before all else, which begins a moment later. */
const FIRST_LOOKS: readonly LoopName[] = ['deployment', 'release', 'traffic']
const LATER_LOOKS_MS = 1_000

/** The loops of the control plane. Waking one that is not started yet does nothing: it looks at its start. */
export class ControlLoops {
  /** How long their looks take. */
  readonly times = new LoopTimes()
  readonly #log: Log
  readonly #loops = new Map<LoopName, ControlLoop>()

  constructor(log: Log) {
    this.#log = log
  }

  /** @param look - @returns when to look again in ms, if sooner than `everyMs` */
  start(name: LoopName, look: () => Promise<number | void>, everyMs = LOOK_EVERY_MS): void {
    const loop = controlLoop({
      name,
      everyMs,
      firstInMs: FIRST_LOOKS.includes(name) ? 0 : LATER_LOOKS_MS,
      run: this.times.timed(name, look),
      onError: (error, facts) => this.#log.error({ ...facts, err: error }, `the ${name} loop failed`),
    })
    this.#loops.set(name, loop)
  }

  wake(name: LoopName): void {
    this.#loops.get(name)?.wake()
  }

  /** Rows of this topic have changed. */
  wakeFor(topic: Topic): void {
    for (const name of wakes[topic]) this.wake(name)
  }

  wakeAll(): void {
    for (const loop of this.#loops.values()) loop.wake()
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#loops.values()].map((loop) => loop.stop()))
  }
}
