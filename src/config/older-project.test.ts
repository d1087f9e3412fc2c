import { describe, expect, it } from 'vitest'
import { completeProject } from './older-project.ts'
import type { Project } from './project.ts'
import { readProject } from './read-project.ts'

function projectOf(model: object, gateway: object = {}): Project {
  const read = readProject({ name: 'p', gateway, models: { m: { train: 'x', ...model } } }, '/work')
  if (read.kind === 'refused') throw new Error(JSON.stringify(read.findings))
  return read.project
}

/** As versions stored it that knew neither canaries nor monitors, one address of the gateway and a number of replicas. */
function older(project: Project): Project {
  const { alerts: _alerts, endpoints: _endpoints, ...rest } = project
  const gateway = { host: project.gateway.host, port: project.gateway.port }
  const models = project.models.map((model) => {
    const { monitors: _monitors, retirement: _retirement, serviceLevels: _levels, ...kept } = model
    const { stability: _stability, ...gate } = model.gate
    const { fallback: _fallback, sticky: _sticky, rules: _rules, limits: _limits, ...kind } = model.serving
    const serving = { ...kind, replicas: model.serving.replicas.min }
    const { canary: _canary, shadow: _shadow, ...release } = model.release
    const triggers = model.triggers.map(({ name: _name, ...trigger }) => trigger)
    return { ...kept, gate, serving, triggers, release: { ...release, strategy: 'immediate' } }
  })
  return JSON.parse(JSON.stringify({ ...rest, gateway, models })) as Project
}

describe('a configuration that an earlier version stored', () => {
  const said = [
    {},
    { task: 'regression', importance: 'critical' },
    { gate: { margin: 0.01, versusChampion: 'superiority' }, release: { when: 'manual' } },
    {
      task: 'binary',
      gate: { loss: 'brier' },
      on: [{ newData: 'a' }, { newData: 'b', atLeast: 2 }],
      serving: { replicas: 5 },
    },
  ]
  it.each(said)('gets every default as if it were applied now: %j', (model) => {
    const now = projectOf({
      ...model,
      release: { strategy: 'immediate', ...('release' in model ? model.release : {}) },
    })
    expect(completeProject(older(now))).toEqual(now)
  })

  it('lets everyone in beyond loopback, as it was declared then, and nobody else than this machine otherwise', () => {
    const open = projectOf({ release: { strategy: 'immediate' } }, { host: '0.0.0.0', port: 9_000, anonymous: true })
    expect(completeProject(older(open))).toEqual(open)
    expect(completeProject(older(projectOf({}))).gateway.anonymous).toBe(false)
  })

  it('is left as it is where everything is there', () => {
    const now = projectOf(
      {
        slos: { availability: 0.9 },
        monitors: { drift: false },
        on: { cron: '@daily', name: 'x' },
        serving: { replicas: { min: 0, max: 3 }, sticky: { header: 'X-User' }, timeout: '1m' },
      },
      { host: '0.0.0.0', processes: 3 },
    )
    expect(completeProject(now)).toEqual(now)
  })
})
