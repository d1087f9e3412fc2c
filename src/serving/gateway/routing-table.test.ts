import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../kernel/stats/random.ts'
import { deploymentOf, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { buildTable, chooseDeployment, decideSnapshot, emptySnapshot, mainDeployment } from './routing-table.ts'
import type { TableEndpoint } from './routing-table.ts'

const always = (): boolean => true

function entryOf(weights: Record<string, number>): TableEndpoint {
  const deployments = Object.keys(weights).map((deploymentId) => deploymentOf({ deploymentId }))
  const members = Object.entries(weights).map(([deploymentId, weightPercent]) => ({ deploymentId, weightPercent }))
  return buildTable(snapshotOf(1, [routeOf({ members, deployments })])).byName.get('late-flights') as TableEndpoint
}

describe('which snapshot is used', () => {
  it('takes a higher revision, a higher epoch whatever its revision, and anything at the start', () => {
    expect(decideSnapshot(snapshotOf(4), snapshotOf(5)).kind).toBe('apply')
    expect(decideSnapshot(snapshotOf(4, [], 1), snapshotOf(1, [], 2)).kind).toBe('apply')
    expect(decideSnapshot(emptySnapshot, snapshotOf(1)).kind).toBe('apply')
  })

  it('refuses what is lower, naming both, and knows the same again', () => {
    expect(decideSnapshot(snapshotOf(4), snapshotOf(3))).toEqual({
      kind: 'refuse',
      why: 'offered 1/3, held 1/4 (epoch/revision)',
    })
    expect(decideSnapshot(snapshotOf(1, [], 2), snapshotOf(9, [], 1)).kind).toBe('refuse')
    expect(decideSnapshot(snapshotOf(4), snapshotOf(4)).kind).toBe('same')
  })
})

describe('the choice of a deployment', () => {
  it('follows weights to a tenth of a percent', () => {
    const entry = entryOf({ 'deployment-1': 99.9, 'deployment-2': 0.1 })
    const drawn = Array.from({ length: 1_000 }, (_, i) => chooseDeployment(entry, i / 1_000, always)?.deploymentId)
    expect(drawn.filter((id) => id === 'deployment-2')).toHaveLength(1)
  })

  it('follows weights below a tenth of a percent, by which a trial is judged', () => {
    const entry = entryOf({ 'deployment-1': 99.85, 'deployment-2': 0.15 })
    const drawn = Array.from({ length: 10_000 }, (_, i) => chooseDeployment(entry, i / 10_000, always)?.deploymentId)
    expect(drawn.filter((id) => id === 'deployment-2')).toHaveLength(15)
  })

  it('comes near the weights with random draws', () => {
    const random = seededRandom(7)
    const entry = entryOf({ 'deployment-1': 70, 'deployment-2': 25, 'deployment-3': 5 })
    const counts: Record<string, number> = {}
    for (let i = 0; i < 20_000; i++) {
      const id = chooseDeployment(entry, random.uniform(), always)?.deploymentId ?? 'none'
      counts[id] = (counts[id] ?? 0) + 1
    }
    expect(counts['deployment-1']).toBeGreaterThan(13_700)
    expect(counts['deployment-2']).toBeGreaterThan(4_750)
    expect(counts['deployment-3']).toBeGreaterThan(880)
    expect(counts['none']).toBeUndefined()
  })

  it('never gives traffic to weight 0', () => {
    const entry = entryOf({ 'deployment-1': 0, 'deployment-2': 100 })
    expect(chooseDeployment(entry, 0, always)?.deploymentId).toBe('deployment-2')
  })

  it('leaves out a member whose replicas are all out, while another answers', () => {
    const entry = entryOf({ 'deployment-1': 90, 'deployment-2': 10 })
    expect(chooseDeployment(entry, 0, (id) => id === 'deployment-2')?.deploymentId).toBe('deployment-2')
    expect(chooseDeployment(entry, 0, () => false)?.deploymentId).toBe('deployment-1')
  })

  it('is none where the endpoint has no members', () => {
    const entry = buildTable(snapshotOf(1, [routeOf({ members: [], deployments: [] })])).byName.get('late-flights')
    expect(chooseDeployment(entry as TableEndpoint, 0.5, always)).toBeNull()
    expect(mainDeployment(entry as TableEndpoint)).toBeNull()
  })
})

describe('look-ups', () => {
  it('finds an endpoint by its name and by its model, the endpoint first', () => {
    const table = buildTable(
      snapshotOf(1, [routeOf({ endpoint: 'a', model: 'b' }), routeOf({ endpoint: 'b', model: 'c' })]),
    )
    expect(table.byName.get('a')?.route.endpoint).toBe('a')
    expect(table.byName.get('b')?.route.endpoint).toBe('b')
    expect(table.byName.get('c')?.route.endpoint).toBe('b')
  })

  it('prefers the deployment with traffic, then one with replicas, where a version is deployed twice', () => {
    const bare = deploymentOf({ deploymentId: 'deployment-1', version: '7', replicas: [] })
    const live = deploymentOf({ deploymentId: 'deployment-2', version: '7' })
    const members = [{ deploymentId: 'deployment-1', weightPercent: 100 }]
    const withTraffic = buildTable(snapshotOf(1, [routeOf({ members, deployments: [bare, live] })]))
    const without = buildTable(snapshotOf(1, [routeOf({ members: [], deployments: [live, bare] })]))
    expect(withTraffic.byName.get('late-flights')?.byVersion.get('7')).toBe(bare)
    expect(without.byName.get('late-flights')?.byVersion.get('7')).toBe(live)
  })

  it('names the deployment with most traffic as the main one', () => {
    expect(mainDeployment(entryOf({ 'deployment-1': 10, 'deployment-2': 90 }))?.deploymentId).toBe('deployment-2')
  })
})
