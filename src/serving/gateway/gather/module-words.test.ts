import { describe, expect, it } from 'vitest'
import { ModuleWords } from './module-words.ts'

function given(lines = 3) {
  const said: [string, unknown][] = []
  let nowMs = 0
  const limits = { lines, periodMs: 10_000, lineBytes: 10 }
  const words = new ModuleWords(
    '/m.ts',
    (_level, what, facts) => said.push([what, facts]),
    limits,
    () => nowMs,
  )
  return { words, said, write: (text: string) => words.write(Buffer.from(text)), at: (ms: number) => (nowMs = ms) }
}

const wrote = (text: string) => ['a combining module wrote', { path: '/m.ts', text }]
const leftOut = (lines: number) => [
  'lines of a combining module were left out',
  { path: '/m.ts', lines, why: 'more than 3 lines in 10 s' },
]

describe('what a combining module writes', () => {
  it('is logged line by line, long ones cut', () => {
    const { write, said } = given()
    write('a\n\n  \nb b\n0123456789abc')
    expect(said).toEqual([wrote('a'), wrote('b b'), wrote('0123456789…')])
  })

  it('is left out beyond so many lines, which is said once with the next line after that', () => {
    const { write, said, at } = given()
    for (let n = 1; n <= 1_000; n++) write(`${n}\n`)
    expect(said).toHaveLength(3)
    at(10_000)
    write('again\n')
    expect(said.slice(3)).toEqual([leftOut(997), wrote('again')])
  })

  it('is said to be left out at the end, too', () => {
    const { words, write, said } = given()
    write('1\n2\n3\n4\n5\n')
    words.end()
    words.end()
    expect(said.slice(3)).toEqual([leftOut(2)])
  })
})
