import { describe, expect, it } from 'vitest'
import { deploymentOf, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { buildTable, chooseDeployment, drawMember } from './routing-table.ts'
import type { TableEndpoint } from './routing-table.ts'

const KEYS = Array.from({ length: 20_000 }, (_, i) => `user-${i}`)
const always = (): boolean => true

function entryOf(weights: Record<string, number>): TableEndpoint {
  const deployments = Object.keys(weights).map((version) => deploymentOf({ deploymentId: `deployment-${version}` }))
  const members = Object.entries(weights).map(([version, weightPercent]) => ({
    deploymentId: `deployment-${version}`,
    weightPercent,
  }))
  return buildTable(snapshotOf(1, [routeOf({ members, deployments })])).byName.get('late-flights')!
}

function assignment(weights: Record<string, number>, answers = always): Map<string, string> {
  const entry = entryOf(weights)
  return new Map(KEYS.map((key) => [key, chooseDeployment(entry, 0, answers, key)!.version]))
}

function share(assigned: Map<string, string>, version: string): number {
  return [...assigned.values()].filter((each) => each === version).length / assigned.size
}

describe('a caller with a key', () => {
  it('is led to the same member again, whatever the draw', () => {
    const entry = entryOf({ 1: 50, 2: 50 })
    for (const key of KEYS.slice(0, 200)) {
      const led = [0, 0.3, 0.99].map((draw) => chooseDeployment(entry, draw, always, key)!.version)
      expect(new Set(led).size).toBe(1)
    }
  })

  it('is led by the weights, to a tenth of a percent', () => {
    const assigned = assignment({ 1: 99.9, 2: 0.1 })
    expect(share(assigned, '2')).toBeGreaterThan(0.0005)
    expect(share(assigned, '2')).toBeLessThan(0.0016)
    const thirds = assignment({ 1: 50, 2: 30, 3: 20 })
    for (const [version, wanted] of [
      ['1', 0.5],
      ['2', 0.3],
      ['3', 0.2],
    ] as const)
      expect(Math.abs(share(thirds, version) - wanted)).toBeLessThan(0.01)
  })

  it('stays where it is when a weight changes, but for the share that must move, and only to the one that grew', () => {
    const before = assignment({ 1: 90, 2: 10 })
    const after = assignment({ 1: 75, 2: 25 })
    const moved = KEYS.filter((key) => before.get(key) !== after.get(key))
    expect(moved.every((key) => before.get(key) === '1' && after.get(key) === '2')).toBe(true)
    expect(Math.abs(moved.length / KEYS.length - 0.15)).toBeLessThan(0.01)
  })

  it('keeps its member of three when only one weight grows against the others', () => {
    const before = assignment({ 1: 60, 2: 30, 3: 10 })
    const after = assignment({ 1: 60, 2: 30, 3: 45 })
    const moved = KEYS.filter((key) => before.get(key) !== after.get(key))
    expect(new Set(moved.map((key) => after.get(key)))).toEqual(new Set(['3']))
  })

  it('goes back to its member once that answers again, and the others never leave theirs', () => {
    const all = assignment({ 1: 50, 2: 30, 3: 20 })
    const down = assignment({ 1: 50, 2: 30, 3: 20 }, (id?: string) => id !== 'deployment-2')
    const moved = KEYS.filter((key) => all.get(key) !== down.get(key))
    expect(moved).toEqual(KEYS.filter((key) => all.get(key) === '2'))
    expect(share(down, '2')).toBe(0)
  })

  it('keeps its version when that is deployed anew', () => {
    const anew = ['7', '8'].map((id, i) => deploymentOf({ deploymentId: `deployment-${id}`, version: String(i + 1) }))
    const members = anew.map(({ deploymentId }) => ({ deploymentId, weightPercent: 50 }))
    const table = buildTable(snapshotOf(2, [routeOf({ members, deployments: anew })]))
    const before = assignment({ 1: 50, 2: 50 })
    for (const key of KEYS.slice(0, 500))
      expect(drawMember(table.byName.get('late-flights')!, 0, key)!.version).toBe(before.get(key))
  })
})
