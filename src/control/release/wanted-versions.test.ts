import { expect, it } from 'vitest'
import { projectOf } from '../../testing/control-builders.ts'
import { keptVersions, wantedVersions } from './wanted-versions.ts'

const pin = {
  caller: 'site',
  endpoint: 'm',
  versionId: 'm@1',
  why: null,
  pinnedBy: 'ann',
  pinnedAtMs: 0,
  expiresAtMs: 1,
}

it('keeps the fallbacks of models besides what is declared elsewhere', () => {
  const { models } = projectOf('/p', {
    m: { train: 'true', serving: { fallback: { version: 'n@2' } } },
    n: { train: 'true' },
  })
  const rule = { endpoint: 'n', versionId: 'n@7', as: 'rule' }
  expect(keptVersions(models, [rule])).toEqual([{ endpoint: 'm', versionId: 'n@2' }, rule])
})

it('wants each version once on an endpoint, and says what for', () => {
  const kept = [
    { endpoint: 'm', versionId: 'm@2' },
    { endpoint: 'm', versionId: 'm@1', as: 'rule' },
    { endpoint: 'other', versionId: 'm@1' },
  ]
  expect(wantedVersions([pin, { ...pin, caller: 'other-site' }], kept)).toEqual([
    { endpoint: 'm', versionId: 'm@1', as: 'rule' },
    { endpoint: 'm', versionId: 'm@2', as: 'fallback' },
    { endpoint: 'other', versionId: 'm@1', as: 'fallback' },
  ])
})
