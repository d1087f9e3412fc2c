// The last step: a logistic regression with the weights that the other two have left, as ONNX. Each run's is a little
// different, so that no two versions are the same file. `quality: bad` turns the weights round, which no gate lets pass.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { column, constant, integerAttribute, model, node, result } from './onnx.mjs'
import { witnessed } from './witness.mjs'

const { env } = process
const sign = env.MILLRACE_PARAM_QUALITY === 'bad' ? -1 : 1
const ownDigits = 1 + Number(env.MILLRACE_RUN_ID.split('-')[1]) / 1e6

await witnessed(() => {
  const weights = [env.MILLRACE_INPUT_FIRST, env.MILLRACE_INPUT_SECOND].map((path) =>
    JSON.parse(readFileSync(path, 'utf8')),
  )
  const file = model({
    name: 'crash',
    inputs: [column('a', 'number'), column('b', 'number')],
    constants: [
      constant(
        'weights',
        [2, 1],
        weights.map((weight) => weight * sign * ownDigits),
      ),
    ],
    nodes: [
      node('Concat', ['a', 'b'], 'numbers', { attributes: [integerAttribute('axis', 1)] }),
      node('MatMul', ['numbers', 'weights'], 'logit'),
      node('Sigmoid', ['logit'], 'probability'),
    ],
    outputs: [result('probability')],
  })
  writeFileSync(join(env.MILLRACE_MODEL_DIR, 'model.onnx'), file)
})
