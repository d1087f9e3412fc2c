import { describe, expect, it } from 'vitest'
import { IllegalTransitionError, type StateMachine } from '../kernel/state-machine.ts'
import { evaluationMachine } from './evaluation/evaluation-store.ts'
import { alertMachine } from './monitoring/alert.ts'
import { attemptMachine, runMachine, stepMachine } from './pipeline/run.ts'
import { versionMachine } from './registry/version.ts'
import { freezeMachine } from './release/freeze.ts'
import { gatherMemberMachine } from './release/gather.ts'
import { retirementMachine } from './retirement/retirement.ts'
import { deploymentMachine, releaseMachine, replicaMachine, trialMachine } from './release/release.ts'

/** Every pair that is allowed; each other one of state × event must be refused. */
const allowed = {
  run: [
    runMachine,
    ['queued -start-> running', 'queued -fail-> failed', 'queued -cancel-> cancelled'],
    ['running -succeed-> succeeded', 'running -fail-> failed', 'running -cancel-> cancelled'],
  ],
  step: [
    stepMachine,
    ['waiting -start-> running', 'waiting -skip-> skipped', 'waiting -cancel-> cancelled'],
    [
      'running -succeed-> succeeded',
      'running -fail-> failed',
      'running -retry-> waiting',
      'running -cancel-> cancelled',
    ],
  ],
  attempt: [
    attemptMachine,
    ['starting', 'running'].flatMap((state) => [
      `${state} -succeed-> succeeded`,
      `${state} -fail-> failed`,
      `${state} -timeOut-> timedOut`,
      `${state} -cancel-> cancelled`,
      `${state} -interrupt-> interrupted`,
    ]),
    ['starting -started-> running'],
  ],
  version: [
    versionMachine,
    ['candidate -evaluate-> evaluating', 'candidate -err-> error'],
    ['evaluating -pass-> passed', 'evaluating -fail-> failed', 'evaluating -undecided-> inconclusive'],
    ['evaluating -err-> error'],
  ],
  evaluation: [
    evaluationMachine,
    ['queued -start-> running', 'queued -giveUp-> error'],
    ['running -requeue-> queued', 'running -finish-> done', 'running -giveUp-> error'],
  ],
  gatherMember: [
    gatherMemberMachine,
    ['joining -admit-> member', 'joining -refuse-> refused', 'joining -leave-> left', 'member -leave-> left'],
    ['left -join-> joining', 'left -admit-> member', 'left -refuse-> refused'],
    ['refused -join-> joining', 'refused -admit-> member', 'refused -refuse-> refused'],
  ],
  release: [
    releaseMachine,
    ['queued -deploy-> deploying', 'queued -preflightPassed-> switching', 'queued -fail-> failed'],
    ['queued -supersede-> superseded', 'queued -cancel-> cancelled'],
    ['deploying -replicaReady-> preflight', 'deploying -fail-> failed', 'deploying -cancel-> cancelled'],
    ['preflight -preflightPassed-> switching', 'preflight -fail-> failed', 'preflight -cancel-> cancelled'],
    ['switching -flip-> released', 'switching -fail-> failed', 'switching -cancel-> cancelled'],
    ['switching -startShadow-> shadowing', 'switching -startCanary-> canary'],
    ['shadowing -startCanary-> canary', 'shadowing -flip-> released', 'shadowing -hold-> held'],
    ['shadowing -fail-> failed', 'shadowing -cancel-> cancelled'],
    ['canary -nextStep-> canary', 'canary -flip-> released', 'canary -hold-> held'],
    ['canary -rollBack-> rolled-back', 'canary -cancel-> cancelled'],
    ['held -startCanary-> canary', 'held -resume-> canary', 'held -flip-> released'],
    ['held -fail-> failed', 'held -rollBack-> rolled-back', 'held -cancel-> cancelled'],
    ['released -rollBack-> rolled-back'],
  ],
  deployment: [
    deploymentMachine,
    ['starting -allReady-> ready', 'starting -drain-> draining', 'starting -fail-> failed'],
    ['ready -drain-> draining', 'draining -drained-> stopped'],
  ],
  trial: [trialMachine, ['running -end-> ended']],
  freeze: [freezeMachine, ['active -end-> ended']],
  retirement: [
    retirementMachine,
    ['kept -propose-> proposed', 'proposed -keep-> kept', 'proposed -drain-> draining', 'draining -stop-> stopped'],
    ['stopped -cool-> cold', 'cold -delete-> deleting', 'deleting -remove-> deleted'],
    ['draining', 'stopped', 'cold'].map((state) => `${state} -revive-> kept`),
  ],
  alert: [alertMachine, ['pending -fire-> firing', 'pending -resolve-> resolved', 'firing -resolve-> resolved']],
  replica: [replicaMachine, ['running -stop-> stopping', 'running -gone-> gone', 'stopping -gone-> gone']],
} as unknown as Record<string, [StateMachine<string, string>, ...string[][]]>

describe.each(Object.entries(allowed))('the state machine of a %s', (name, [machine, ...lists]) => {
  const pairs = lists.flat()
  const events = [...new Set(pairs.map((pair) => /-(\w+)->/.exec(pair)![1]!))]
  const every = machine.states.flatMap((state) => events.map((event) => [state, event] as const))

  it.each(every)('answers %s -%s-> as it is written down', (state, event) => {
    const next = pairs.find((text) => text.startsWith(`${state} -${event}->`))?.split('-> ')[1]
    expect(attempt(() => machine.transition(state, event))).toBe(next ?? IllegalTransitionError)
  })

  it('has no event that is not written down here', () => {
    const inTable = Object.values(machine.table).flatMap((row) => Object.keys(row))
    expect(new Set(inTable)).toEqual(new Set(events))
    expect(machine.name).toBe(name)
  })

  it('can reach every state, and a final one from each, if it has any', () => {
    const reach = (from: string): Set<string> => {
      const seen = new Set([from])
      for (const state of seen) for (const next of Object.values(machine.table[state]!)) seen.add(next!)
      return seen
    }
    expect(reach(machine.states[0]!)).toEqual(new Set(machine.states))
    const ends = machine.states.some((s) => machine.isFinal(s))
    for (const state of machine.states) expect([...reach(state)].some((s) => machine.isFinal(s))).toBe(ends)
  })
})

/** What it returns, or the class of what it throws. */
function attempt(work: () => string): unknown {
  try {
    return work()
  } catch (error) {
    return (error as Error).constructor
  }
}
