import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nameAnswer } from './name-answer.ts'
import { atOnce } from './steps.ts'

const named = (text: string) => atOnce(nameAnswer(Buffer.from(text), 'm', '7'))?.toString() ?? null
const HEAD = '{"model_name":"m","model_version":"7"'

describe('an answer of a server of someone else', () => {
  it.each([
    ['without names', '{"outputs":[]}', `${HEAD},"outputs":[]}`],
    ['with its own', '{"model_name":"x","outputs":[],"model_version":null}', `${HEAD},"outputs":[]}`],
    ['that is empty', ' { } ', `${HEAD}}`],
    [
      'with spaces and digits as they are',
      '{ "id" : "a" ,\n "n":[1.50,9007199254740993] }',
      `${HEAD},"id" : "a","n":[1.50,9007199254740993]}`,
    ],
    [
      'with names inside of values only',
      '{"p":{"model_name":"x"},"s":"\\"model_name\\":1}"}',
      `${HEAD},"p":{"model_name":"x"},"s":"\\"model_name\\":1}"}`,
    ],
  ])('gets the names that clients know: %s', (_what, text, expected) => {
    expect(named(text)).toBe(expected)
  })

  it.each([
    '',
    '[]',
    '"x"',
    '{',
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":}',
    '{"a" 1}',
    '{"a":1}}',
    '{"a":[}',
    '{"a":"x}',
    '{a:1}',
    'null',
  ])('is refused where it is no object: %s', (text) => {
    expect(named(text)).toBeNull()
  })

  it('loses nothing, whatever it holds', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(4), (object, indent) => {
        const { model_name: _name, model_version: _version, ...rest } = object
        const parsed: unknown = JSON.parse(named(JSON.stringify(object, null, indent))!)
        const expected: unknown = JSON.parse(JSON.stringify({ ...rest, model_name: 'm', model_version: '7' }))
        expect(parsed).toEqual(expected)
      }),
    )
  })
})
