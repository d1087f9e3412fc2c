import { describe, expect, it } from 'vitest'
import { signatureFromMetadata } from './served-model.ts'
import { serverEnvironment } from './server-process.ts'

const x = { name: 'x', datatype: 'FP32', shape: [-1, 2] }
const y = { name: 'y', datatype: 'INT64', shape: [-1] }

describe('what a server says of its model', () => {
  it('is its signature, with columns as an ONNX file has them', () => {
    const metadata = { name: 'm', platform: 'p', versions: [], inputs: [x], outputs: [y] }
    expect(signatureFromMetadata(metadata, 'm', ['a', 'b'])).toEqual({
      inputs: [{ ...x, columns: ['a', 'b'] }],
      outputs: [{ ...y, columns: ['y'] }],
    })
    expect(signatureFromMetadata(metadata, 'm', null).inputs[0]!.columns).toBeNull()
  })

  it.each<[string, unknown, string]>([
    ['nothing', null, 'it names no inputs'],
    ['no inputs, as MLServer has it without settings', { inputs: [], outputs: [y] }, 'it names no inputs'],
    ['no outputs', { inputs: [x] }, 'it names no outputs'],
    ['an input without a name', { inputs: [{ ...x, name: '' }], outputs: [y] }, 'one of its inputs has no name'],
    ['a type that is none', { inputs: [{ ...x, datatype: 'float' }], outputs: [y] }, `the datatype of 'x' is "float"`],
    ['a shape that is none', { inputs: [{ ...x, shape: [-2] }], outputs: [y] }, `the shape of 'x' is [-2]`],
    ['endless axes', { inputs: [x], outputs: [{ ...y, shape: Array(99).fill(1) }] }, `the shape of 'y' is [1,1`],
  ])('is refused where it is %s', (_what, metadata, why) => {
    expect(() => signatureFromMetadata(metadata, 'm', null)).toThrow(why)
  })

  it('must fit the features', () => {
    expect(() => signatureFromMetadata({ inputs: [x], outputs: [y] }, 'm', ['a', 'b', 'c'])).toThrow('takes 2 columns')
  })
})

it('is run without what is only of Millrace, with its own variables over those that are inherited', () => {
  const plan = { env: { LANG: 'C', PORT: '1' }, modelDir: '/m', modelName: 'churn', version: '4' }
  const own = { HOME: '/h', LANG: 'de', PATH: '/bin', MILLRACE_DATABASE_URL: 'secret', MILLRACE_INSTANCE: 'mark' }
  const env = serverEnvironment(plan, { http: 1001, grpc: 1002, metrics: 1003 }, own)
  expect(env).toMatchObject({ HOME: '/h', LANG: 'C', MILLRACE_INSTANCE: 'mark', PORT: '1001', GRPC_PORT: '1002' })
  expect(env).toMatchObject({ MILLRACE_MODEL_DIR: '/m', MILLRACE_MODEL_NAME: 'churn', MILLRACE_MODEL_VERSION: '4' })
  expect(env['PATH']!.endsWith(':/bin')).toBe(true)
  expect(Object.keys(env)).not.toContain('MILLRACE_DATABASE_URL')
})
