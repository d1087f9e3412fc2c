import { globSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const root = new URL('../../', import.meta.url)

/** Tests and fakes may make up codes of their own. */
const madeUp = /\.test\.ts$|^src\/testing\/|\/fake-[\w-]+\.ts$/

const sources = globSync('src/**/*.ts', { cwd: root.pathname }).filter((path) => !madeUp.test(path))

/** A whole code in quotes; a prefix (`'MR_CONFIG_'`) is none. */
const inSource = new Set(
  sources.flatMap((path) => [...read(path).matchAll(/'(MR_[A-Z]+(?:_[A-Z]+)*)'/g)].map((m) => m[1]!)),
)

const rows = [...read('docs/reference/errors.md').matchAll(/^\| `(MR_[A-Z_]+)` \| (.*) \| (.*) \|$/gm)]
const codes = rows.map((row) => row[1]!)

describe('docs/reference/errors.md', () => {
  it('lists every code of the source', () => {
    expect([...inSource].filter((code) => !codes.includes(code))).toEqual([])
  })

  it('lists no code that the source does not have', () => {
    expect(codes.filter((code) => !inSource.has(code))).toEqual([])
  })

  it('lists each code once, in order', () => {
    expect(codes).toEqual([...new Set(codes)].toSorted())
  })

  it('says of each when it comes and what to do', () => {
    expect(rows.filter(([, , when, what]) => when!.trim() === '' || what!.trim() === '').map((row) => row[1])).toEqual(
      [],
    )
  })
})

function read(path: string): string {
  return readFileSync(new URL(path, root), 'utf8')
}
