import { describe, expect, it } from 'vitest'
import { decideExamined, decideNewData, type FoundFile, type SeenFile } from './decide-new-data.ts'

const config = { settleMs: 5_000, minFiles: 1 }

describe('data that has come', () => {
  it('is waited for while nothing is new', () => {
    expect(decideNewData([file('a')], { a: seen('a') }, config, 99_000)).toMatchObject({
      state: 'watching',
      why: 'nothing new among 1 file',
      againAtMs: null,
    })
  })

  it('is examined once it has settled, and not a moment earlier', () => {
    expect(decideNewData([file('a', { stableSinceMs: 1_000 })], {}, config, 5_999)).toMatchObject({
      state: 'settling',
      againAtMs: 6_000,
    })
    expect(decideNewData([file('a', { stableSinceMs: 1_000 })], {}, config, 6_000)).toEqual({
      kind: 'examine',
      paths: ['a'],
    })
  })

  it('is not examined while anything new is still written', () => {
    const found = [file('a'), file('b', { stableSinceMs: 4_000 })]
    expect(decideNewData(found, {}, config, 6_000)).toMatchObject({
      state: 'settling',
      why: '1 file may still be written',
      againAtMs: 9_000,
    })
  })

  it('waits for as many files as declared', () => {
    const two = { ...config, minFiles: 2 }
    expect(decideNewData([file('a')], {}, two, 9_000)).toMatchObject({
      state: 'waiting',
      why: '1 of 2 new files are there',
      againAtMs: null,
    })
    expect(decideNewData([file('b'), file('a')], {}, two, 9_000)).toEqual({ kind: 'examine', paths: ['a', 'b'] })
  })

  it.each([{ sizeBytes: 2 }, { mtimeMs: 9 }])('is looked into again when a known file has changed: %j', (change) => {
    expect(decideNewData([file('a', change)], { a: seen('a') }, config, 9_000)).toEqual({
      kind: 'examine',
      paths: ['a'],
    })
  })

  it('does not mind files that are gone', () => {
    expect(decideNewData([], { a: seen('a') }, config, 9_000)).toMatchObject({
      state: 'watching',
      why: 'no file matches',
    })
  })
})

describe('data that was examined', () => {
  it('fires for what is new, and remembers it', () => {
    expect(decideExamined({ b: seen('b') }, { a: seen('a') }, 1)).toEqual({
      kind: 'fire',
      why: '1 new file: b',
      seen: { a: seen('a'), b: seen('b') },
    })
  })

  it('does not fire for a file that was only touched, and remembers its new time', () => {
    const touched = { ...seen('a'), mtimeMs: 9 }
    expect(decideExamined({ a: touched }, { a: seen('a') }, 1)).toEqual({ kind: 'unchanged', seen: { a: touched } })
  })

  it('fires for a file whose content has changed', () => {
    expect(decideExamined({ a: { ...seen('a'), digest: 'other' } }, { a: seen('a') }, 1).kind).toBe('fire')
  })

  it('remembers what was only touched where the rest is too few, so that it is not read again and again', () => {
    const touched = { ...seen('a'), mtimeMs: 9 }
    const examined = decideExamined({ a: touched, b: seen('b') }, { a: seen('a') }, 2)
    expect(examined).toEqual({ kind: 'tooFew', why: '1 of 2 new files are there', seen: { a: touched } })
  })

  it('names three files and counts the rest', () => {
    const now = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((name) => [name, seen(name)]))
    expect(decideExamined(now, {}, 1)).toMatchObject({ why: '5 new files: a, b, c and 2 more' })
  })
})

const file = (path: string, overrides: Partial<FoundFile> = {}): FoundFile => ({
  path,
  sizeBytes: 1,
  mtimeMs: 1,
  stableSinceMs: 0,
  ...overrides,
})

const seen = (name: string): SeenFile => ({ sizeBytes: 1, mtimeMs: 1, digest: `sha256:${name}` })
