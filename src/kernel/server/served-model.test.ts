import { describe, expect, it } from 'vitest'
import { signatureFromMetadata, toTensor } from './served-model.ts'
import type { Datatype } from '../model/signature.ts'
import type { AnsweredTensor } from '../protocol/inference.ts'
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

describe('an output of a server', () => {
  const output = (datatype: Datatype, ...data: AnsweredTensor['data']) =>
    toTensor({ datatype, shape: [data.length], data }, 'y')

  it('is a tensor of its type, up to its bounds', () => {
    expect(output('UINT8', 0, 255).data).toEqual(new Uint8Array([0, 255]))
    expect(output('INT16', -32_768, 32_767).data).toEqual(new Int16Array([-32_768, 32_767]))
    expect(output('INT64', -1, 9223372036854775807n).data).toEqual(new BigInt64Array([-1n, 9223372036854775807n]))
    expect(output('UINT64', 18446744073709551615n).data).toEqual(new BigUint64Array([18446744073709551615n]))
    expect(output('FP32', 3.4e38, null).data).toEqual(new Float32Array([3.4e38, Number.NaN]))
    expect(output('FP64', 9007199254740993n).data).toEqual(new Float64Array([9007199254740992]))
  })

  it.each<[Datatype, AnsweredTensor['data'][number], string]>([
    ['UINT8', 256, '256'],
    ['UINT8', -1, '-1'],
    ['INT8', 128, '128'],
    ['INT32', 2 ** 31, '2147483648'],
    ['INT64', 9223372036854775808n, '9223372036854775808'],
    ['UINT64', -1, '-1'],
    ['INT16', 1.5, '1.5'],
    ['INT16', '7', '"7"'],
    ['INT64', null, 'null'],
    ['FP32', 1e39, '1e+39'],
    ['FP64', 'a', '"a"'],
    ['BOOL', 2, '2'],
  ])('of %s does not hold %s', (datatype, value, shown) => {
    expect(() => output(datatype, value)).toThrow(`output 'y' holds ${shown}, which is not ${datatype}`)
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
