import { expect, it } from 'vitest'
import { namePattern } from './schema-fields.ts'
import { editDistance, nearest, safeName } from './suggest.ts'

it('finds the field that was meant', () => {
  const known = ['holdout', 'label', 'task', 'train', 'trainingRows']
  expect(['holdot', 'Label', 'taks', 'tarin', 'training_rows'].map((typo) => nearest(typo, known))).toEqual(known)
})

it('suggests nothing for a word that resembles none, nor for single letters', () => {
  expect(nearest('banana', ['holdout', 'label'])).toBeNull()
  expect(nearest('q', ['a', 'b'])).toBeNull()
  expect(nearest('x', [])).toBeNull()
})

it('counts a swap of neighbours as one edit', () => {
  expect(editDistance('taks', 'task')).toBe(1)
  expect(editDistance('', 'abc')).toBe(3)
})

it('makes names that the pattern takes', () => {
  const written = ['Late Flight_2', 'lateFlight', '99 luftballons', 'é', 'x'.repeat(39) + '-y', '../../etc']
  expect(written.map(safeName)).toEqual(['late-flight-2', 'late-flight', 'luftballons', null, 'x'.repeat(39), 'etc'])
  for (const name of written.map(safeName).filter((made) => made !== null)) expect(name).toMatch(namePattern)
})
