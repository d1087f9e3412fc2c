import * as onnx from './onnx-builder.ts'

/** Models for tests of the protocols, by name: a linear one with two columns, and what gives its input back, by type. */
export function protocolModels(): Record<string, Uint8Array> {
  return {
    linear: onnx.linearModel({ weights: [1, 2], bias: 0.5 }),
    vector: onnx.identityModel('float', ['N']),
    matrix: onnx.identityModel('float', ['N', 2]),
    double: onnx.identityModel('double', ['N']),
    text: onnx.identityModel('string', ['N']),
    long: onnx.identityModel('int64', ['N']),
    small: onnx.identityModel('int8', ['N']),
    flag: onnx.identityModel('bool', ['N']),
    half: onnx.identityModel('float16', ['N']),
    pair: onnx.onnxModel({
      nodes: [onnx.node('Identity', ['a'], ['c']), onnx.node('Identity', ['b'], ['d'])],
      inputs: [onnx.tensorValue('a', 'float', ['N']), onnx.tensorValue('b', 'int64', ['N'])],
      outputs: [onnx.tensorValue('c', 'float', ['N']), onnx.tensorValue('d', 'int64', ['N'])],
    }),
  }
}
