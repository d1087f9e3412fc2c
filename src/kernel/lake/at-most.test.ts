import { expect, it } from 'vitest'
import { atMost } from './at-most.ts'
import { LakeQueryBusyError } from './errors.ts'

it('refuses who comes while so many are running, and nobody once one has ended, well or not', async () => {
  const ends: PromiseWithResolvers<string>[] = []
  const query = atMost(2, (_sql: string) => {
    const end = Promise.withResolvers<string>()
    ends.push(end)
    return end.promise
  })
  const [first, second] = [query('a'), query('b')]
  await expect(query('c')).rejects.toThrow(LakeQueryBusyError)
  expect(ends).toHaveLength(2)
  ends[0]!.reject(new Error('wrong SQL'))
  await expect(first).rejects.toThrow('wrong SQL')
  const third = query('c')
  await expect(query('d')).rejects.toThrow('2 queries are running already.')
  for (const end of ends.slice(1)) end.resolve('rows')
  expect(await Promise.all([second, third])).toEqual(['rows', 'rows'])
})
