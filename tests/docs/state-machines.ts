import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { evaluationMachine } from '../../src/control/evaluation/evaluation-store.ts'
import { alertMachine } from '../../src/control/monitoring/alert.ts'
import { attemptMachine, runMachine, stepMachine } from '../../src/control/pipeline/run.ts'
import { versionMachine } from '../../src/control/registry/version.ts'
import { freezeMachine } from '../../src/control/release/freeze.ts'
import { gatherMemberMachine } from '../../src/control/release/gather.ts'
import { retirementMachine } from '../../src/control/retirement/retirement.ts'
import { deploymentMachine, releaseMachine, replicaMachine, trialMachine } from '../../src/control/release/release.ts'
import type { StateMachine } from '../../src/kernel/state-machine.ts'

interface Noun {
  machine: StateMachine<string, string>
  /** Where the union of its states is declared, a comment beside each that needs one. */
  file: string
  type: string
  /** What it is, and what starts it. */
  about: string
}

const RUN = 'src/control/pipeline/run.ts'
const RELEASE = 'src/control/release/release.ts'

const NOUNS: Noun[] = [
  {
    machine: runMachine,
    file: RUN,
    type: 'RunStatus',
    about: 'One execution of a pipeline: `run-12`. One run of a model is under way at a time.',
  },
  {
    machine: stepMachine,
    file: RUN,
    type: 'StepStatus',
    about: 'A unit of a run: `run-12/train`. It waits for the steps that it needs.',
  },
  {
    machine: attemptMachine,
    file: RUN,
    type: 'AttemptStatus',
    about: 'One try of a step, with a process of its own.',
  },
  {
    machine: versionMachine,
    file: 'src/control/registry/version.ts',
    type: 'VersionStatus',
    about:
      'A model version: `late-flight@7`. The status is what the gate says of it. What becomes of it then (`released`, ' +
      '`spare`, `awaiting-approval`, `refused`) is kept beside it, as is the word of a person.',
  },
  {
    machine: evaluationMachine,
    file: 'src/control/evaluation/evaluation-store.ts',
    type: 'EvaluationStatus',
    about: 'The measuring of one version on the holdout: `evaluation-3`.',
  },
  {
    machine: releaseMachine,
    file: RELEASE,
    type: 'ReleaseStatus',
    about:
      'A change of who has the traffic of an endpoint: `release-3`, a rollback too. Whatever ends in `failed` or ' +
      '`superseded` has never had live traffic; what is cancelled in its canary gives its share back.',
  },
  {
    machine: trialMachine,
    file: RELEASE,
    type: 'TrialStatus',
    about: 'A shadow, or one step of a canary: `trial-7`. Within it the shares are fixed, so that it can be compared.',
  },
  {
    machine: gatherMemberMachine,
    file: 'src/control/release/gather.ts',
    type: 'GatherMemberStatus',
    about:
      'A version in an endpoint that asks several at once: `second-opinion/late-flight@3`. It begins by joining; among the ' +
      'first members, or by a rollback, as a member.',
  },
  {
    machine: deploymentMachine,
    file: RELEASE,
    type: 'DeploymentStatus',
    about: 'The replicas of one version: `deployment-4`.',
  },
  {
    machine: replicaMachine,
    file: RELEASE,
    type: 'ReplicaStatus',
    about:
      'One model-server process: `replica-9`. Whether it is loading or ready is observed by its lease, and not a status.',
  },
  {
    machine: freezeMachine,
    file: 'src/control/release/freeze.ts',
    type: 'FreezeStatus',
    about:
      'What keeps a model from being released by itself: `freeze-2`. At most one of each kind (rollback, stability, ' +
      'alert, budget, person) is active on a model.',
  },
  {
    machine: retirementMachine,
    file: 'src/control/retirement/retirement.ts',
    type: 'RetirementStatus',
    about:
      'The way of a model version out of service. Every step after `proposed` asks the in-use guard in its own ' +
      'transaction; whoever begins to use a version that is on its way brings it back.',
  },
  {
    machine: alertMachine,
    file: 'src/control/monitoring/alert.ts',
    type: 'AlertStatus',
    about:
      'What a monitor or a service level has to say: `alert-2`. That somebody acknowledged it or silenced it is kept ' +
      'beside the status.',
  },
]

const INTRODUCTION = `# State machines

Every status in Millrace is a state of one of these machines. A change is stored only if the status still is what the
change was decided on, together with an event (from, to, cause, time) in the same transaction; \`millrace events\` lists
them. A pair of state and event that is not drawn here can't happen: it is refused with \`MR_ILLEGAL_TRANSITION\`.

This page is drawn from the code by a test (\`UPDATE_DOCS=1 npx vitest run tests/docs.test.ts -t machines\` writes it
again).
`

/** docs/reference/state-machines.md, made from the machines themselves. */
export function stateMachinesPage(): string {
  return [INTRODUCTION, ...NOUNS.map(section)].join('\n')
}

function section({ machine, file, type, about }: Noun): string {
  const notes = meanings(file, type)
  const rows = machine.states.map((state) => `| \`${state}\` | ${notes.get(state) ?? ''} | ${events(machine, state)} |`)
  return [
    `## ${machine.name[0]!.toUpperCase()}${machine.name.slice(1)}`,
    '',
    about,
    '',
    '```mermaid',
    'stateDiagram-v2',
    ...machine.states.map((state, i) => `  state "${state}" as s${i}`),
    '  [*] --> s0',
    ...arrows(machine),
    '```',
    '',
    '| state | meaning | event → next state |',
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}

/** Events that lead from one state to the same other one share an arrow. */
function arrows(machine: StateMachine<string, string>): string[] {
  const number = (state: string) => machine.states.indexOf(state)
  return machine.states.flatMap((state, from) => {
    if (machine.isFinal(state)) return [`  s${from} --> [*]`]
    const byTarget = Map.groupBy(Object.entries(machine.table[state]!), ([, next]) => next!)
    return [...byTarget].map(
      ([next, pairs]) => `  s${from} --> s${number(next)}: ${pairs.map(([event]) => event).join(', ')}`,
    )
  })
}

function events(machine: StateMachine<string, string>, state: string): string {
  if (machine.isFinal(state)) return 'final'
  const pairs = Object.entries(machine.table[state]!)
  return pairs.map(([event, next]) => `${event} → \`${next}\``).join(', ')
}

/** The comments beside the members of a union: `| 'queued' // waits for its turn`. */
function meanings(file: string, type: string): Map<string, string> {
  const source = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8')
  const [, union] = new RegExp(`export type ${type} =\\n((?:  \\| .*\\n)+)`).exec(source) ?? []
  if (union === undefined) throw new Error(`There is no union ${type}, a member per line, in ${file}`)
  const members = [...union.matchAll(/^ {2}\| '([^']+)'(?: \/\/ (.+))?$/gm)]
  return new Map(members.map(([, state, note = '']) => [state!, note.replaceAll('|', '\\|')]))
}
