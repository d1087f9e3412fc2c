import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { projectOf } from '../../testing/control-builders.ts'
import { projectChanges, projectDigest } from './revision.ts'

const before = projectOf('/p', { a: { train: 'true' }, b: { train: 'true' } })

describe('what a revision changes', () => {
  it('is nothing for the same configuration', () => {
    expect(projectChanges(before, structuredClone(before))).toEqual([])
  })

  it('is every model at the first one', () => {
    expect(projectChanges(null, before)).toEqual(['model a is new', 'model b is new'])
  })

  it('names new, changed and paused models, and settings', () => {
    const after = projectOf(
      '/p',
      { a: { train: 'python train.py', release: { when: 'always' } }, c: { train: 'true' } },
      { gateway: { port: 9_999 } },
    )
    expect(projectChanges(before, after)).toEqual([
      'gateway changed',
      'model a: pipeline changed',
      'model a: release changed',
      'model c is new',
      'model b is paused: it left the configuration',
    ])
  })
})

describe('the digest of a configuration', () => {
  it('does not depend on the order in which fields were written', () => {
    const shuffled = Object.fromEntries(Object.entries(before).toReversed()) as unknown as typeof before
    expect(projectDigest(shuffled)).toBe(projectDigest(before))
  })

  it('depends on every parameter', () => {
    const digest = (params: Record<string, string | number | boolean>) => {
      const project = structuredClone(before)
      project.models[0]!.pipeline.params = params
      return projectDigest(project)
    }
    const scalar = fc.oneof(fc.string(), fc.integer(), fc.boolean())
    fc.assert(
      fc.property(scalar, scalar, (one, other) => {
        expect(digest({ rate: one }) === digest({ rate: other })).toBe(one === other)
      }),
    )
  })
})
