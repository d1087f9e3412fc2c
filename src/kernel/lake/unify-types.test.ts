import { expect, it } from 'vitest'
import { unifyTypes } from './unify-types.ts'

const unified = (...types: string[]) =>
  unifyTypes(types.map((type, at) => [{ name: at % 2 ? 'X' : 'x', type }])).get('x')

it('gives versions that disagree on a type one that holds all of them', () => {
  expect(unified('FLOAT', 'FLOAT')).toBeUndefined()
  expect(unified('FLOAT', 'DOUBLE')).toBe('DOUBLE')
  expect(unified('BIGINT', 'FLOAT')).toBe('DOUBLE')
  expect(unified('TINYINT', 'UINTEGER')).toBe('BIGINT')
  expect(unified('BIGINT', 'UBIGINT')).toBe('HUGEINT')
  expect(unified('BOOLEAN', 'FLOAT')).toBe('VARCHAR')
  expect(unified('FLOAT', 'VARCHAR')).toBe('VARCHAR')
  expect(unified('FLOAT', 'FLOAT[]')).toBe('VARCHAR')
  expect(unified('FLOAT[]', 'DOUBLE[]')).toBe('DOUBLE[]')
  expect(unified('BIGINT[]', 'UBIGINT[]')).toBe('HUGEINT[]')
  expect(unified('FLOAT[]', 'VARCHAR[]')).toBe('VARCHAR[]')
})
