import { describe, expect, it } from 'vitest'
import { mapCode } from './locate-code.ts'
import type { Path } from './schema-tree.ts'

const find = (source: string, path: Path) => {
  const map = mapCode(source, true)
  const at = map.kind === 'map' ? map.locate(path) : null
  return at === null ? null : source.split('\n')[at.line - 1]!.slice(at.column - 1)
}

describe('places of fields in TypeScript', () => {
  it('follows defineProject, defineModel, constants, members and spread objects', () => {
    const source = `
      import { defineModel, defineProject } from 'millrace'
      const gate: { margin: number } = { margin: 1 }
      const base = { serving: { replicas: 2 }, log: { mode: 'off' } } as const
      const model = defineModel({ ...base, gate, 'task': 'binary', log: base.log, on: [{ newData: 'a' }, { newData: 'b' }] })
      export default defineProject({ name: 'p', models: { 'late-flight': model } } satisfies object)`
    const at = (...path: Path) => find(source, ['models', 'late-flight', ...path])
    expect(at('gate', 'margin')).toMatch(/^margin: 1/)
    expect(at('serving', 'replicas')).toMatch(/^replicas: 2/)
    expect(at('log', 'mode')).toMatch(/^mode: 'off'/)
    expect(at('task')).toMatch(/^'task'/)
    expect(at('on', 1, 'newData')).toMatch(/^newData: 'b'/)
    expect(at()).toMatch(/^'late-flight'/)
  })

  it('gives the nearest place above for what is missing or computed', () => {
    const source = `export default { name: 'p', models: { m: load(), n: cond ? {} : {} } }`
    expect(find(source, ['models', 'm', 'train'])).toMatch(/^m: load/)
    expect(find(source, ['models', 'n', 'gate', 'margin'])).toMatch(/^n: cond/)
    expect(find(source, ['gateway'])).toMatch(/^{ name/)
  })

  it('keeps lines and columns behind types and characters beyond ASCII', () => {
    expect(
      find(`const x: Record<string, 'ü→'> = {}\nexport default { ü: 'é→😀', name: 1 } as Foo<Bar>`, ['name']),
    ).toMatch(/^name: 1/)
  })

  it('reads exports of every form', () => {
    for (const form of ['export default x', 'export { x as default }', 'module.exports = x'])
      expect(find(`const x = { name: 'p' }\n${form}`, ['name'])).toMatch(/^name/)
  })

  it('stops at constants that name each other', () => {
    expect(find('const a = b\nconst b = a\nexport default a', ['name'])).toBeNull()
  })

  it('tells fields that are written twice', () => {
    const map = mapCode(`export default {\n  name: 'a',\n  'name': 'b', ...{ name: 1 } }`, true)
    expect(map).toMatchObject({ duplicates: [{ field: 'name', at: { line: 3, column: 3 } }] })
  })

  it('tells the place of a syntax error, in TypeScript and in JavaScript', () => {
    expect(mapCode('const a: number = 1\nexport default { a: 1 b: 2 }', true)).toMatchObject({
      kind: 'unreadable',
      at: { line: 2, column: 23 },
    })
    expect(mapCode('import "x"\nexport default { a: 1 b: 2 }', false)).toMatchObject({
      kind: 'unreadable',
      message: 'Unexpected token',
      at: { line: 2, column: 23 },
    })
  })
})
